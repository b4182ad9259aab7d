"""The chores of a contributor: `nox -l` lists them, CONTRIBUTING.md explains them."""

import nox

nox.options.sessions = ["lint", "test"]
nox.options.reuse_venv = "yes"


@nox.session
def test(session: nox.Session) -> None:
    """Runs the fast tests; `nox -s test -- --all` runs all of them."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Checks format, style, types and spelling."""
    session.install(".[dev]")
    session.run("bash", ".ci/lint", external=True)


@nox.session
def native(session: nox.Session) -> None:
    """Runs all tests of the C part: sanitizers, fuzzing, the scripted macOS."""
    session.install(".[test]")
    session.run("pytest", "--all", "tests/native", "tests/darwin", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the site and checks its links; `nox -s docs -- serve` shows it while you write."""
    session.install(".[docs]")
    session.run("mkdocs", *(session.posargs or ["build", "--strict"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Runs one benchmark: `nox -s bench -- peers.py --quick`; by default a short whole_job.py."""
    session.install(".[test,peers]")
    script, *options = session.posargs or ["whole_job.py", "--quick", "--parts", "build"]
    session.run("python", f"benchmarks/{script}", *options)

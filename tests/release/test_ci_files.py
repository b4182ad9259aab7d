"""Tests of the GitHub Action and the example workflows: steps that are scripts are really run.

Fakes replace the rest: the runner's variables and files, `gh`, and GitLab's server. `pip` really
installs in one test; in the others, a venv of the workflow contains the memwatch under test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
ACTION = ROOT / ".github/actions/memwatch"
DOCS = ROOT / "docs/ci"

yaml = pytest.importorskip("yaml")
if not (ACTION / "action.yml").exists() or not DOCS.exists():
    pytest.skip("needs a checkout: a source distribution has no .github", allow_module_level=True)
if not shutil.which("bash"):
    pytest.skip("needs bash", allow_module_level=True)

ACTION_YML = yaml.safe_load((ACTION / "action.yml").read_text())
GITHUB_YML = yaml.safe_load((DOCS / "github.yml").read_text())
GITLAB_YML = yaml.safe_load((DOCS / "gitlab.yml").read_text())

# The command with which GitHub and GitLab run a script in bash.
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]

# A command that holds some MiB long enough for a sample.
HOLD = "{python} -c 'import time; held = bytearray({mib} << 20); time.sleep(0.1)'"


def hold(mib: int) -> str:
    return HOLD.format(python=sys.executable, mib=mib)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path) -> Path:
    """Returns a folder for the PATH: this memwatch, and a python3 whose venvs contain only it."""
    folder = tmp_path / "programs"
    program(folder / "memwatch", f'#!/bin/sh\nexec {sys.executable} -m memwatch "$@"\n')
    program(
        folder / "python3",
        f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"
mkdir -p "$3/bin"
cp "{folder}/memwatch" "$3/bin/memwatch"
printf '#!/bin/sh\\necho "$@" >> "{folder}/pip-calls"\\n' > "$3/bin/pip"
chmod 755 "$3/bin/pip"
""",
    )
    return folder


# -- A GitHub runner -----------------------------------------------------------------------------


class Ran(NamedTuple):
    outcome: str
    outputs: dict[str, str]
    log: str


class Runner:
    """Runs those steps that are scripts, with the variables, files and expressions of a runner."""

    def __init__(self, room: Path, programs: Path) -> None:
        self.workspace = room / "workspace"
        self.temp = room / "temp"
        self.programs = programs
        self.summary = room / "summary.md"
        self.uploads: list[Mapping[str, str]] = []
        for folder in (self.workspace, self.temp):
            folder.mkdir()
        self._path = [str(programs), os.environ["PATH"]]
        self._files = room

    def run(self, step: Mapping[str, Any], contexts: Mapping[str, Any], **more: str) -> Ran:
        """Runs one step with `run`."""
        files = {name: self._files / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
        for file in files.values():
            file.write_text("")
        env = {
            "PATH": os.pathsep.join(self._path),
            "HOME": str(self.temp),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKFLOW": "Memory",
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temp),
            **{name: str(file) for name, file in files.items()},
            **{name: str(value(text, contexts)) for name, text in step.get("env", {}).items()},
            **more,
        }
        done = subprocess.run(
            [*BASH, step["run"]],
            cwd=self.workspace,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self._path[:0] = files["GITHUB_PATH"].read_text().split()
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return Ran("failure" if done.returncode else "success", outputs, done.stdout)

    def use(self, **inputs: str) -> Ran:
        """Runs the whole action, as a step of a workflow uses it."""
        known = ACTION_YML["inputs"]
        assert inputs.keys() <= known.keys()
        given = {name: inputs.get(name, each.get("default", "")) for name, each in known.items()}
        steps: dict[str, Any] = {}
        contexts = {"inputs": given, "steps": steps}
        outcome, logs = "success", []
        for step in ACTION_YML["runs"]["steps"]:
            if not wanted(step.get("if", "success()"), contexts, failed=outcome != "success"):
                ran = Ran("skipped", {}, "")
            elif "uses" in step:
                self.uploads.append(
                    {key: value(text, contexts) for key, text in step["with"].items()}
                )
                ran = Ran("success", {}, "")
            else:
                ran = self.run(step, contexts)
                logs.append(ran.log)
            if ran.outcome == "failure":
                outcome = "failure"
            if "id" in step:
                steps[step["id"]] = {"outputs": ran.outputs, "outcome": ran.outcome}
        outputs = {
            name: value(each["value"], contexts) for name, each in ACTION_YML["outputs"].items()
        }
        return Ran(outcome, outputs, "".join(logs))


def value(text: Any, contexts: Mapping[str, Any]) -> str:
    """Returns text with its ${{ expressions }} replaced by their values; an absent one is empty."""
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: look_up(found[1], contexts), str(text))


def look_up(name: str, contexts: Mapping[str, Any]) -> str:
    found: Any = contexts
    for part in name.split("."):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return "" if found == {} else str(found)


def wanted(condition: str, contexts: Mapping[str, Any], *, failed: bool) -> bool:
    """Returns whether a step is run. A condition without a status function implies success()."""
    condition = condition.removeprefix("${{").removesuffix("}}").strip()
    if "cancelled()" not in condition and failed:
        return False
    terms = []
    for term in condition.split(" && "):
        if term in ("success()", "!cancelled()"):
            terms.append(True)
            continue
        left, operator, right = term.split(" ")
        equal = look_up(left, contexts) == right.strip("'")
        terms.append(equal == {"==": True, "!=": False}[operator])
    return all(terms)


@pytest.fixture
def runner(tmp_path, programs) -> Runner:
    return Runner(tmp_path, programs)


# -- The action ----------------------------------------------------------------------------------


def test_the_action_measures_checks_and_saves_the_recording(runner):
    ran = runner.use(**{"command": hold(30), "max-total-rss": "2G", "max-per-proc-rss": "1G"})
    assert ran.outcome == "success", ran.log
    assert "memwatch: ok: max total RSS at least " in ran.log
    assert (ran.outputs["result"], ran.outputs["exit-code"]) == ("ok", "0")
    assert int(ran.outputs["max-total-rss-kib"]) >= 30 << 10
    assert int(ran.outputs["max-per-proc-rss-kib"]) >= 30 << 10
    assert "### memwatch: ok" in runner.summary.read_text()
    assert runner.uploads == [{"name": "memwatch", "path": "memwatch.jsonl.gz"}]
    assert (runner.workspace / "memwatch.jsonl.gz").stat().st_size
    calls = (runner.programs / "pip-calls").read_text().split()
    assert calls[:2] == ["install", "--quiet"]
    assert Path(calls[2]).resolve() == ROOT
    # Only memwatch is on the PATH of the command and of later steps, not another Python.
    assert os.listdir(runner.temp / "memwatch/bin") == ["memwatch"]


def test_the_action_fails_above_a_limit(runner):
    ran = runner.use(**{"command": hold(60), "max-total-rss": "50M"})
    assert ran.outcome == "failure"
    assert (ran.outputs["result"], ran.outputs["exit-code"]) == ("total-limit", "0")
    assert "::error title=memwatch%3A total limit exceeded::" in ran.log
    assert runner.uploads
    ran = runner.use(**{"command": hold(60), "max-per-proc-rss": "50M"})
    assert (ran.outcome, ran.outputs["result"]) == ("failure", "process-limit")


def test_the_action_compares(runner):
    limits = {"baseline": "base.jsonl.gz", "threshold": "10M python3=1T", "artifact": ""}
    first = runner.use(command=hold(30), recording="base.jsonl.gz", **limits)
    assert first.outcome == "success", first.log
    assert not runner.uploads
    # The recording is compared with itself: the file exists by then.
    assert "unchanged from" in first.log
    larger = runner.use(command=hold(60), junit="out.xml", **limits)
    assert (larger.outcome, larger.outputs["result"]) == ("failure", "regression")
    assert "::error title=memwatch%3A regression::total RSS +" in larger.log
    assert ET.parse(runner.workspace / "out.xml").find(".//failure") is not None
    missing = runner.use(command=hold(30), **{**limits, "baseline": "nowhere"})
    assert (missing.outcome, missing.outputs["result"]) == ("success", "ok")
    assert "::notice title=memwatch::" in missing.log
    assert "not compared: no baseline 'nowhere'" in missing.log


def test_the_action_judges_the_memory_of_a_command_that_fails(runner):
    ran = runner.use(**{"command": f"{hold(30)}; exit 7", "max-total-rss": "2G"})
    assert ran.outcome == "failure"
    assert (ran.outputs["result"], ran.outputs["exit-code"]) == ("inconclusive", "7")
    assert "the command failed (exit code 7)" in ran.log
    assert runner.uploads


def test_the_command_is_run_as_a_step_is(runner):
    ran = runner.use(**{"command": "set -o\nfalse | true\necho not here", "max-total-rss": "2G"})
    assert ran.outputs["exit-code"] == "1"
    assert re.search(r"^errexit\s+on$", ran.log, re.M)
    assert "not here" not in ran.log.splitlines()


HOSTILE = "$(touch owned) `touch owned`; touch owned; \"'\n touch owned ${{ x }} -"


def test_no_input_is_a_script(runner):
    """Every input except the command becomes arguments, even if it contains shell syntax."""
    inputs = {name: HOSTILE for name in ACTION_YML["inputs"] if name != "command"}
    ran = runner.use(command="true", **inputs)
    assert ran.outcome == "failure"
    calls = (runner.programs / "pip-calls").read_text()
    assert calls == f"install --quiet memwatch=={HOSTILE}\n"
    # Both scripts ran memwatch itself, which refused the value.
    assert len(re.findall(r"^memwatch: ", ran.log, re.M)) == 2
    assert "is not an interval" in ran.log
    assert "is not a size" in ran.log
    assert not (runner.workspace / "owned").exists()


def test_args_are_options_of_run(runner):
    ran = runner.use(
        **{"command": "true", "max-total-rss": "2G", "args": " --silent\n --csv  out.csv "}
    )
    assert ran.outcome == "success", ran.log
    assert (runner.workspace / "out.csv").exists()


def test_without_a_limit_it_only_measures(runner):
    ran = runner.use(command="true")
    assert ran.outcome == "success", ran.log
    assert "nothing was checked: no limit and no baseline is given" in ran.log
    assert "::error" not in ran.log
    assert ran.outputs["result"] == ""
    (upload,) = runner.uploads
    assert (runner.workspace / upload["path"]).exists()


@pytest.mark.parametrize("name", ["threshold", "metric", "junit"])
def test_an_input_for_a_check_without_a_check_is_an_error(runner, name):
    ran = runner.use(**{"command": "true", name: "5%"})
    assert ran.outcome == "failure"
    assert "::error title=memwatch::threshold, metric and junit need a limit" in ran.log


def test_a_version_comes_from_the_index(runner):
    runner.use(**{"command": "true", "max-total-rss": "2G", "version": "0.1.0"})
    assert (runner.programs / "pip-calls").read_text().split()[2] == "memwatch==0.1.0"


def test_the_action_installs_its_own_repository(tmp_path, runner):
    """pip installs without an index, with the build tools that are installed here."""
    pytest.importorskip("setuptools")
    if not shutil.which(os.environ.get("CC", "cc").split()[0]):
        pytest.skip("no C compiler")
    checkout = tmp_path / "checkout"
    for name in (".github/actions", "csrc", "docs", "memwatch"):
        shutil.copytree(
            ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, checkout / path.name)
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    # With the metadata of each: setuptools finds its commands and cffi's build step there.
    building = ("setuptools", "_distutils_hack", "click_man")
    for name in (*building, "cffi", "click", "pycparser", "_cffi_backend"):
        found = pytest.importorskip(name).__file__
        path = Path(found).parent if Path(found).name == "__init__.py" else Path(found)
        for each in (path, *path.parent.glob(f"{name}-*.dist-info")):
            (borrowed / each.name).symlink_to(each)
    program(runner.programs / "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    step = ACTION_YML["runs"]["steps"][0]
    ran = runner.run(
        step,
        {"inputs": {"version": ""}},
        GITHUB_ACTION_PATH=str(checkout / ".github/actions/memwatch"),
        PYTHONPATH=str(borrowed),
        PIP_NO_INDEX="1",
        PIP_NO_DEPS="1",
        PIP_NO_BUILD_ISOLATION="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    assert ran.outcome == "success", ran.log
    done = subprocess.run(
        [runner.temp / "memwatch/bin/memwatch", "--version"],
        env={"PYTHONPATH": str(borrowed), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("memwatch "), done.stderr


# -- What the files refer to ---------------------------------------------------------------------


def steps_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "runs" in document:
        return document["runs"]["steps"]
    return [step for job in document["jobs"].values() for step in job["steps"]]


DOCUMENTS = [pytest.param(ACTION_YML, id="action"), pytest.param(GITHUB_YML, id="workflow")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_scripts_hold_no_expression(document):
    scripts = [step["run"] for step in steps_of(document) if "run" in step]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_expressions_refer_to_existing_names(document):
    ids = {step["id"] for step in steps_of(document) if "id" in step}
    found = re.findall(r"\b(inputs|steps)\.([\w-]+)(?:\.(\w+)\.?([\w-]*))?", str(document))
    for context, name, part, output in found:
        if context == "inputs":
            assert name in document.get("inputs", {})
        else:
            assert name in ids
            assert part in ("outputs", "outcome")
            assert (part == "outputs") == bool(output)


def test_the_actions_outputs_are_written(runner):
    """Each output is set by the step that action.yml names."""
    ran = runner.use(**{"command": hold(30), "max-total-pss": "2G", "args": "--pss always"})
    assert ran.outputs.keys() == ACTION_YML["outputs"].keys()
    assert all(ran.outputs.values())


def test_every_input_is_used_and_described():
    text = str(ACTION_YML["runs"])
    for name, each in ACTION_YML["inputs"].items():
        assert re.search(rf"inputs\.{name}\b(?!-)", text)
        assert each["description"]
        assert each.get("required") or "default" in each


@pytest.mark.parametrize("document", DOCUMENTS)
def test_actions_are_pinned_to_a_major_version(document):
    used = [step["uses"] for step in steps_of(document) if "uses" in step]
    assert used
    for each in used:
        assert re.fullmatch(r"[\w./-]+@v\d+", each)


def test_the_workflow_uses_the_inputs_and_outputs_of_the_action():
    (step,) = [each for each in steps_of(GITHUB_YML) if "actions/memwatch@" in each.get("uses", "")]
    assert step["with"].keys() <= ACTION_YML["inputs"].keys()
    required = {name for name, each in ACTION_YML["inputs"].items() if each.get("required")}
    assert required <= step["with"].keys()
    # It saves the recording where the next run fetches it.
    (fetch,) = [each["run"] for each in steps_of(GITHUB_YML) if "run" in each]
    artifact = ACTION_YML["inputs"]["artifact"]["default"]
    folder, name = step["with"]["baseline"].split("/")
    assert f"--name {artifact} --dir {folder}" in fetch
    assert name == ACTION_YML["inputs"]["recording"]["default"]
    assert ".workflowName == env.GITHUB_WORKFLOW" in fetch


# -- The workflow for GitHub ---------------------------------------------------------------------

GH = """#!/bin/sh
[ -n "$GH_TOKEN" ] && [ "$GH_REPO" = us/it ] || exit 4
echo "$*" >> {folder}/gh-calls
case "$1 $2" in
    "run list") cat {folder}/runs ;;
    "run download")
        [ -e {folder}/artifact ] || {{ echo "no valid artifacts found to download" >&2; exit 1; }}
        mkdir -p "$7" && cp {folder}/artifact "$7/memwatch.jsonl.gz" ;;
    *) exit 2 ;;
esac
"""


class GitHub:
    """Runs the workflow, with a `gh` that knows one artifact."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.folder = runner.programs
        program(self.folder / "gh", GH.format(folder=self.folder))
        (self.folder / "runs").write_text("")

    def has(self, run: str, recording: Path | None) -> None:
        (self.folder / "runs").write_text(f"{run}\n")
        if recording:
            shutil.copy(recording, self.folder / "artifact")

    def run(self, event: str, command: str) -> Ran:
        github = {
            "event_name": event,
            "token": "secret",
            "repository": "us/it",
            "base_ref": "main" if event == "pull_request" else "",
        }
        contexts = {"github": github}
        log = ""
        for step in steps_of(GITHUB_YML):
            if not wanted(step.get("if", "success()"), contexts, failed=False):
                continue
            if "run" in step:
                ran = self.runner.run(step, contexts)
                log += ran.log
                if ran.outcome == "failure":
                    return ran._replace(log=log)
            elif "actions/memwatch@" in step["uses"]:
                ran = self.runner.use(**{**step["with"], "command": command})
                return ran._replace(log=log + ran.log)
        raise AssertionError("the workflow does not use the action")


@pytest.fixture
def github(runner) -> GitHub:
    return GitHub(runner)


def test_github_first_run(github):
    ran = github.run("pull_request", hold(30))
    assert ran.outcome == "success", ran.log
    assert "No run on main to compare with yet" in ran.log
    assert "not compared: no baseline 'baseline/memwatch.jsonl.gz'" in ran.log
    calls = (github.folder / "gh-calls").read_text()
    assert "--branch main --event push --status success" in calls


def test_github_run_with_a_baseline(github, tmp_path):
    pushed = github.run("push", hold(30))
    assert pushed.outcome == "success", pushed.log
    assert not (github.folder / "gh-calls").exists()
    github.has("1234", github.runner.workspace / github.runner.uploads[0]["path"])
    same = github.run("pull_request", hold(30))
    assert same.outcome == "success", same.log
    assert "in the baseline" in same.log
    more = github.run("pull_request", hold(60))
    assert (more.outcome, more.outputs["result"]) == ("failure", "regression")
    assert "run download 1234" in (github.folder / "gh-calls").read_text()


def test_github_run_whose_baseline_has_expired(github):
    github.has("1234", None)
    ran = github.run("pull_request", hold(30))
    assert ran.outcome == "success", ran.log
    assert "::warning title=memwatch::No baseline: the recording of run 1234" in ran.log


def test_github_does_not_hide_an_error_of_gh(github):
    program(github.folder / "gh", "#!/bin/sh\necho HTTP 500 >&2\nexit 1\n")
    ran = github.run("pull_request", hold(30))
    assert ran.outcome == "failure"
    assert "HTTP 500" in ran.log


# -- The workflow for GitLab ---------------------------------------------------------------------


class GitLab:
    """Plays a server with the artifacts of the last good pipeline, and a runner."""

    def __init__(self, room: Path, programs: Path) -> None:
        self.project = room / "project"
        self.project.mkdir()
        self.programs = programs
        self.artifact: bytes | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                body = outer.artifact
                self.send_response(404 if body is None else 200)
                body = b'{"message":"404 Not Found"}' if body is None else body
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def run(
        self, command: str, shell: str = "bash", limit: str = "800M", **more: str
    ) -> tuple[int, str]:
        """Runs the job with another command and limit; returns the exit code and the log."""
        job = GITLAB_YML["memory"]
        program(self.programs / "make", f"#!/bin/sh\n{command}\n")
        host, port = self.server.server_address[:2]
        env = {
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.project),
            "no_proxy": "*",
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_PROJECT_DIR": str(self.project),
            "CI_API_V4_URL": f"http://{host}:{port}/api/v4",
            "CI_PROJECT_ID": "42",
            "CI_DEFAULT_BRANCH": "main",
            "CI_JOB_NAME": "memory",
            "CI_JOB_TOKEN": "job-secret",
            **job["variables"],
            **more,
        }
        script = "\n".join(job["script"])
        assert "--max-per-proc-rss 800M" in script
        script = script.replace("800M", limit)
        start = BASH if shell == "bash" else [shell, "-e", "-c"]
        done = subprocess.run(
            [*start, script],
            cwd=self.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def gitlab(tmp_path, programs) -> Iterator[GitLab]:
    if not shutil.which("curl"):
        pytest.skip("needs curl, as the workflow does")
    made = GitLab(tmp_path, programs)
    yield made
    made.close()


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_gitlab_first_run(gitlab, shell):
    code, log = gitlab.run(hold(30), shell, CI_MERGE_REQUEST_IID="7")
    assert code == 0, log
    assert "No baseline (HTTP 404): there is none yet" in log
    assert "memwatch: ok: max total RSS at least " in log
    assert "not compared: no baseline 'baseline.jsonl.gz'" in log
    ((path, headers),) = gitlab.asked
    assert path == "/api/v4/projects/42/jobs/artifacts/main/raw/memwatch.jsonl.gz?job=memory"
    assert headers["JOB-TOKEN"] == "job-secret"
    assert (gitlab.programs / "pip-calls").read_text().split()[2].startswith("git+https://")


def test_gitlab_run_with_a_baseline(gitlab):
    code, log = gitlab.run(hold(30), CI_COMMIT_BRANCH="main")
    assert code == 0, log
    assert not gitlab.asked
    kept = GITLAB_YML["memory"]["artifacts"]
    gitlab.artifact = (gitlab.project / kept["paths"][0]).read_bytes()
    code, log = gitlab.run(hold(30), CI_MERGE_REQUEST_IID="7")
    assert code == 0, log
    assert "in the baseline" in log
    code, log = gitlab.run(hold(60), CI_MERGE_REQUEST_IID="7", MEMWATCH_TOKEN="mine")
    assert code == 1
    assert "memwatch: regression: total RSS +" in log
    headers = gitlab.asked[-1][1]
    assert headers["PRIVATE-TOKEN"] == "mine"
    assert "JOB-TOKEN" not in headers
    report = ET.parse(gitlab.project / kept["reports"]["junit"])
    assert report.find(".//failure").get("type") == "regression"


def test_gitlab_does_not_hide_an_unreachable_server(gitlab):
    code, log = gitlab.run(hold(30), CI_MERGE_REQUEST_IID="7", CI_API_V4_URL="http://127.0.0.1:1")
    assert code not in (0, 1, 10, 11)
    assert "curl: " in log


def test_gitlab_run_above_a_limit(gitlab):
    code, log = gitlab.run(hold(60), limit="50M")
    assert code == 11
    assert "memwatch: per-process limit exceeded: " in log


def test_gitlab_run_whose_command_fails(gitlab):
    code, log = gitlab.run("exit 5")
    assert code == 5
    assert (gitlab.project / GITLAB_YML["memory"]["artifacts"]["paths"][0]).exists(), log

{
  lib,
  python3Packages,
  fetchurl,
  src ? fetchurl {
    url = "@URL@";
    hash = "@SRI@";
  },
}:

python3Packages.buildPythonApplication {
  pname = "memwatch";
  version = "@VERSION@";
  pyproject = true;
  inherit src;

  build-system = with python3Packages; [
    setuptools
    cffi
    click
    click-man
  ];

  dependencies = with python3Packages; [
    cffi
    click
  ];

  pythonImportsCheck = [ "memwatch" ];

  # Of what is installed; the test suite races with thousands of processes.
  checkPhase = ''
    runHook preCheck
    $out/bin/memwatch run -- true
    test -e $out/share/man/man1/memwatch-run.1
    runHook postCheck
  '';

  meta = {
    description = "Memory of a whole job: every process it starts, totals over time, peaks";
    homepage = "https://pypi.org/project/memwatch/";
    license = lib.licenses.mit;
    mainProgram = "memwatch";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}

"""Describes the extension `memwatch.runner._native` to cffi; run by setup.py.

setuptools executes this file rather than importing it, from the project's root,
so paths are relative to that and nothing of memwatch is imported.
"""

import os
import sysconfig
import time
from glob import glob

import cffi

API = "csrc/api.h"
COMMON = sorted({os.path.basename(path) for path in glob("csrc/*.c")} - {"unsupported.c"})


def platform_sources():
    """Those of the system that is built for, which may be another one than this: setuptools learns
    it from _PYTHON_HOST_PLATFORM, as in "macosx-11.0-arm64"."""
    target = sysconfig.get_platform()
    if target.startswith("macosx-"):
        return sorted(glob("csrc/darwin/*.c"))
    if target.startswith("linux-"):
        return sorted(glob("csrc/linux/*.c"))
    return ["csrc/unsupported.c"]


# Builds that are to be reproducible set this: https://reproducible-builds.org/specs/
built = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))

ffi = cffi.FFI()
with open(API) as api:
    ffi.cdef(api.read())
ffi.set_source(
    "memwatch.runner._native",
    '#include "memwatch.h"',
    sources=[f"csrc/{name}" for name in COMMON] + platform_sources(),
    # All of it, other platforms' files too: what is listed here is in the sdist.
    depends=sorted(glob("csrc/**/*.*", recursive=True)),
    include_dirs=["csrc"],
    define_macros=[
        ("_GNU_SOURCE", None),
        ("MW_BUILD_DATE", time.strftime('"%Y-%m-%d"', built)),
        ("MW_BUILD_TARGET", f'"{sysconfig.get_platform()}"'),
    ],
    # Debug information without the folder's name: the same source gives the same wheel anywhere.
    extra_compile_args=["-std=c11", "-O2", "-pthread", f"-fdebug-prefix-map={os.getcwd()}=."],
    extra_link_args=["-pthread"],
    py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
)

"""Describes the extension `memwatch.runner._native` to cffi, for setup.py.

setuptools executes this file, rather than importing it, in the project's root.
So paths are relative to the root, and nothing of memwatch is imported.
"""

import os
import sysconfig
import time
from glob import glob

import cffi

API = "csrc/api.h"
COMMON = sorted({os.path.basename(path) for path in glob("csrc/*.c")} - {"unsupported.c"})


def platform_sources():
    """Returns the sources of the target system, which may differ from this one: setuptools reads it
    from _PYTHON_HOST_PLATFORM, as in "macosx-11.0-arm64"."""
    target = sysconfig.get_platform()
    if target.startswith("macosx-"):
        return sorted(glob("csrc/darwin/*.c"))
    if target.startswith("linux-"):
        return sorted(glob("csrc/linux/*.c"))
    return ["csrc/unsupported.c"]


# A reproducible build sets SOURCE_DATE_EPOCH: https://reproducible-builds.org/specs/
built = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))

ffi = cffi.FFI()
with open(API) as api:
    ffi.cdef(api.read())
ffi.set_source(
    "memwatch.runner._native",
    '#include "memwatch.h"',
    sources=[f"csrc/{name}" for name in COMMON] + platform_sources(),
    # All files, with those of other platforms, because the sdist contains what is listed here.
    depends=sorted(glob("csrc/**/*.*", recursive=True)),
    include_dirs=["csrc"],
    define_macros=[
        ("_GNU_SOURCE", None),
        ("MW_BUILD_DATE", time.strftime('"%Y-%m-%d"', built)),
        ("MW_BUILD_TARGET", f'"{sysconfig.get_platform()}"'),
    ],
    # Debug information does not name the folder, so the same source gives the same wheel anywhere.
    extra_compile_args=["-std=c11", "-O2", "-pthread", f"-fdebug-prefix-map={os.getcwd()}=."],
    extra_link_args=["-pthread"],
    py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
)

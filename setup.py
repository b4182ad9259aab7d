"""The part of the build that pyproject.toml cannot say: one extension, one abi3 wheel."""

import sys
import sysconfig

from setuptools import setup

if sys.platform == "win32":
    sys.exit("memwatch does not support Windows yet: it needs Linux or macOS (or WSL 2)")

# A free-threaded Python has no stable ABI: it gets a wheel of its own.
abi3 = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["csrc/build_ffi.py:ffi"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if abi3 else {},
)

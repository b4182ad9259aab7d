# cffi's half of the boundary is untyped by nature; native.py is its only user.
from typing import Any

ffi: Any
lib: Any

"""memwatch: the memory of a whole job.

profile = memwatch.run(["make", "-j8"], interval=0.01)
print(profile.max_total_rss, len(profile.processes))
"""

import sys

# Before anything that Windows lacks is imported: resource, fcntl, termios, the extension.
if sys.platform == "win32":
    raise ImportError("memwatch does not support Windows yet: it needs Linux or macOS (or WSL 2)")

from memwatch.model.profile import Profile
from memwatch.runner.profiler import run
from memwatch.version import __version__

__all__ = ["Profile", "__version__", "run"]

"""memwatch: the memory of a whole job.

profile = memwatch.run(["make", "-j8"], interval=0.01)
print(profile.max_total_rss, len(profile.processes))
"""

from memwatch.profile import Profile
from memwatch.profiler import run

__all__ = ["Profile", "__version__", "run"]

__version__ = "0.1.0"

"""Lets test_micro.py import programs.py, as the scripts beside it do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

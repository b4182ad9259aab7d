"""Lets test_micro.py import programs.py, like the scripts in this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

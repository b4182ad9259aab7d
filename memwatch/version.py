"""The version of memwatch."""

__version__ = "0.1.0"

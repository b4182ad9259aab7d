"""Helpers that tests share, imported by name: `from support.command import Memwatch`."""

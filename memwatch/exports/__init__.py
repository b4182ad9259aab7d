"""Exports: a module for each format of another tool, and formats.py, which lists them."""

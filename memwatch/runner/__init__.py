"""Touches the system: starts the command, samples it, ends it at a limit."""

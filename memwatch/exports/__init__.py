"""Results in the formats of other tools: a module each, and formats.py that lists them."""

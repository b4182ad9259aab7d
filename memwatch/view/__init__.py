"""A profile as one HTML page: drawn by a small program of its own, which reads packed columns."""

"""A profile as one HTML page, which a small JavaScript program draws from packed columns."""

"""A Profile as a person or a program reads it: summary, JSON, CSV."""

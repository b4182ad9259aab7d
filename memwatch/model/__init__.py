"""Pure: what was observed of a job, and what follows from it. No I/O, no clock."""

"""Data sets: one file per format, each yielding the same `Sample`."""

"""Data sets: one module each, paths and units in, Sample out."""

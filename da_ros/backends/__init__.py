"""Inference runtimes, one module each, imported when chosen."""

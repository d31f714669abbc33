"""Command lines: each parses, calls the core, and prints."""

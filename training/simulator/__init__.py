"""Textured scenes of triangles, and their panoramas with exact range."""

"""Textured scenes of triangles and the ray caster that turns them into panoramas with exact range."""

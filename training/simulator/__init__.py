"""Scenes to panoramas with exact range."""

"""Offline side of da_ros: networks, simulation, training, export and evaluation."""

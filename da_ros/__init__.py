"""A 360-degree camera as a metric range sensor for ROS 2."""

__version__ = '0.1.0'

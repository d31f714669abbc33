# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag is what: panoramas, possible truth, and the node's own outputs."""

from __future__ import annotations

from collections.abc import Mapping
import re

from da_ros.bags.bag import BagReader, CAMERA_INFO, COMPRESSED, IMAGE, POINTS, SCAN

SENSORS = (POINTS, SCAN, IMAGE, COMPRESSED)        # what can measure ranges
OUTPUTS = {
    'depth/image': 'sensor_msgs/msg/Image', 'depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    'points': 'sensor_msgs/msg/PointCloud2', 'points_clearing': 'sensor_msgs/msg/PointCloud2',
    'scan': 'sensor_msgs/msg/LaserScan', 'obstacle_distance': 'sensor_msgs/msg/LaserScan',
    'cliff': 'sensor_msgs/msg/LaserScan', 'map_points': 'sensor_msgs/msg/PointCloud2',
    'range_mask': 'sensor_msgs/msg/Image', 'confidence': 'sensor_msgs/msg/Image',
    'depth/preview': 'sensor_msgs/msg/Image',
    'depth/preview/compressed': 'sensor_msgs/msg/CompressedImage'}
VIEW = re.compile(r'(?:/.*)?/views/[^/]+/(?:depth|image|camera_info)')     # of parameter `views`
# Names that a camera or a LiDAR in the same namespace could bear as well.
COMMON = ('points', 'scan', 'depth/image', 'depth/camera_info')


def own_topics(kinds: Mapping[str, str]) -> set[str]:
    """
    Return the topics of a bag that bear the names of the node's outputs.

    Without a namespace the name alone decides. In one, /lidar/points is a LiDAR and
    /camera/depth/image a depth camera: two measuring outputs side by side, or a name that only
    the node uses, tell that it was the node (or `da_ros_evaluate_bag --write-bag`).

    :param kinds: topic -> message type
    """
    found: dict[str, set[str]] = {}
    for topic, kind in kinds.items():
        for name, output in OUTPUTS.items():
            if kind == output and topic.endswith(f'/{name}'):
                found.setdefault(topic.removesuffix(name), set()).add(name)
    views = {topic for topic, kind in kinds.items()
             if kind in (IMAGE, CAMERA_INFO) and VIEW.fullmatch(topic)}
    return views | {prefix + name for prefix, names in found.items() for name in names
                    if prefix == '/' or not names <= set(COMMON)
                    or len(names & {'points', 'scan', 'depth/image'}) > 1}


def find_image(bag: BagReader, name: str) -> str:
    """
    Return the topic of the panoramas: the named one, or the only one that can be it.

    :raises BagError: none or several; lists what there is
    """
    own = own_topics(bag.kinds)
    topics = [topic for topic, kind in bag.kinds.items() if kind in (IMAGE, COMPRESSED)
              and 'depth' not in topic and topic not in own and bag.counts[topic]]
    given = name or (topics[0] if len(topics) == 1 else '')
    return bag.find_topic(given, (IMAGE, COMPRESSED), 'panorama image (--image)')


def possible_truth(bag: BagReader, image_topic: str) -> list[str]:
    """Return the topics that a sensor could have measured ranges for, clouds first."""
    own = own_topics(bag.kinds)
    found = [topic for kind in SENSORS for topic in sorted(bag.kinds)
             if bag.kinds[topic] == kind and bag.counts[topic] and topic not in own
             and topic != image_topic and (kind in (POINTS, SCAN) or 'depth' in topic)]
    # The same picture twice is no choice to ask about.
    return [topic for topic in found if not any(
        topic != other and topic.startswith(f'{other}/compressed') for other in found)]

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of bags and folders: order, time, and stamps that move together."""

import cv2
import numpy as np
import pytest

from da_ros.bags.bag import BagReader, IMAGE
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.frames import bag_frames, Frame, is_bag, pictures_of
from da_ros.bags.storage import BagError
from da_ros.stamps import stamp_ns

S = 10**9


def write_bag(path):
    """Write small images of 20 Hz."""
    with BagWriter(path) as bag:
        for i in range(8):
            stamp = 1_700_000_000 * S + i * S // 20
            bag.write('/cam/image', bag.image(stamp, 'cam', np.zeros((8, 16, 3), np.uint8),
                                              'bgr8'), stamp)
    return path


def test_frames_of_a_bag_keep_order_time_and_bytes(tmp_path):
    with BagReader(write_bag(tmp_path / 'bag')) as bag:
        frames = list(bag_frames(bag, ['/cam/image']))
    assert [f.time_ns for f in frames] == [i * S // 20 for i in range(8)]
    stamps = []
    moved = frames[3].moved(lambda t: stamps.append(t) or 5 * S + 7)
    assert stamps == [1_700_000_000 * S + 3 * S // 20]
    frame = Frame('', IMAGE, 0, 0, moved)
    assert frame.moved(lambda t: stamps.append(t) or t) == moved and stamps[1] == 5 * S + 7
    assert moved[12:] == frames[3].cdr[12:]


def test_ros1_messages_become_ros2_bytes(tmp_path):
    from rosbags.typesys import get_typestore, Stores
    from test_bag import BGR, write_ros1
    with BagReader(write_ros1(tmp_path / 'one.bag')) as bag:
        frames = list(bag_frames(bag, ['/camera/image']))
    msg = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr(frames[1].cdr, IMAGE)
    assert stamp_ns(msg) == S + 5
    np.testing.assert_array_equal(msg.data, BGR.reshape(-1))


def test_times_are_moved_wherever_a_message_holds_them_and_unset_ones_stay(tmp_path):
    from rosbags.typesys import get_typestore, Stores
    store = get_typestore(Stores.ROS2_JAZZY)
    with BagWriter(tmp_path / 'bag') as bag:
        tf = [bag.transform(t, 'odom', 'base', (0, 0, 0), (0, 0, 0, 1)).transforms[0]
              for t in (5 * S, 0, 7 * S + 1)]
        bag.write('/tf', bag.new('tf2_msgs/msg/TFMessage', transforms=tf), 1)
        point = bag.new('geometry_msgs/msg/Point', x=1.0, y=2.0, z=3.0)
        turn = bag.new('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0)
        pose = bag.new('geometry_msgs/msg/PoseStamped', header=bag.header(9 * S, 'map'),
                       pose=bag.new('geometry_msgs/msg/Pose', position=point, orientation=turn))
        bag.write('/path', bag.new('nav_msgs/msg/Path', header=bag.header(8 * S, 'map'),
                                   poses=[pose]), 2)
        bag.write('/words', bag.new('std_msgs/msg/String', data='hello'), 3)
    with BagReader(tmp_path / 'bag') as bag:
        frames = {f.topic: f for f in bag_frames(bag, ['/tf', '/path', '/words'])}
        moved = {topic: store.deserialize_cdr(frame.moved(lambda t: t + 100 * S), frame.kind)
                 for topic, frame in frames.items()}
        assert frames['/words'].moved(lambda t: 0) == frames['/words'].cdr
    assert [stamp_ns(t) for t in moved['/tf'].transforms] == [105 * S, 0, 107 * S + 1]
    assert stamp_ns(moved['/path']) == 108 * S
    assert stamp_ns(moved['/path'].poses[0]) == 109 * S
    assert moved['/path'].poses[0].pose.position.z == 3 and moved['/words'].data == 'hello'


def test_pictures_and_bags_are_told_apart(tmp_path):
    bag = write_bag(tmp_path / 'bag')
    assert is_bag(bag) and is_bag(bag / 'bag.mcap') and not is_bag(tmp_path)
    with pytest.raises(BagError, match='no bag and holds no JPEG or PNG'):
        pictures_of(tmp_path)
    cv2.imwrite(str(tmp_path / 'b.jpg'), np.zeros((8, 16, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((8, 16, 3), np.uint8))
    for name in ('._a.png', '.hidden.jpg', 'a_preview.png', 'a_depth_mm.png', 'b_preview.png'):
        (tmp_path / name).write_bytes((tmp_path / 'a.png').read_bytes())
    np.save(tmp_path / 'a_range.npy', np.zeros(3))       # so a_preview.png is ours, b's is not
    assert [p.name for p in pictures_of(tmp_path)] == ['a.png', 'b.jpg', 'b_preview.png']
    (bag / 'metadata.yaml').unlink()
    assert is_bag(bag)                                   # for the message about metadata.yaml

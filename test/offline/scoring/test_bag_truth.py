# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What may be the truth of a drive: sensors, in every form, and never the network itself."""

from dataclasses import replace
import re
import struct

import cv2
import numpy as np
import pytest
from test_evaluate_bag import bundle, drive, published, report, run  # noqa: F401

from da_ros.bags.bag import BagReader, CAMERA_INFO, COMPRESSED, POINTS
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.contents import points_of, range_image_of
from da_ros.bags.topics import OUTPUTS, own_topics
from da_ros.stamps import stamp_ns

IMAGE = '/camera/image'


def copy(source, target, rewrite, *more):
    """Copy bags into a new one; `rewrite` returns (topic, message or None) per message."""
    with BagWriter(target) as bag:
        for path in (source, *more):
            with BagReader(path) as old:
                for message in old.messages(list(old.kinds)):
                    topic, msg = rewrite(bag, message)
                    if topic and msg is None:
                        bag.write_raw(topic, message.kind, message.raw, message.log_ns)
                    elif topic:
                        bag.write(topic, msg, message.log_ns)
    return target


@pytest.fixture(scope='module')
def with_outputs(bundle, tmp_path_factory):   # noqa: F811
    """Return a drive without sensors, and the bag of what the network says about it."""
    folder = tmp_path_factory.mktemp('outputs')
    source = drive(folder / 'bag', seconds=1.0)
    assert run(source, bundle, folder / 'out', '--truth', 'none', '--camera-height', 0.75,
               '--write-bag', folder / 'both') == 0
    bare = copy(source, folder / 'bare', lambda _, m: (
        m.topic if m.topic in (IMAGE, '/tf', '/tf_static') else '', None))
    return bare, folder / 'both'


def test_several_sensors_are_named_and_asked_about(tmp_path, bundle, capsys):  # noqa: F811
    bag = drive(tmp_path / 'bag', seconds=1.0)
    assert run(bag, bundle, tmp_path / 'out') == 1
    error = capsys.readouterr().err
    assert 'several topics could be the truth: /lidar/points (sensor_msgs/msg/PointCloud2, 10), ' \
           '/camera/depth/image (sensor_msgs/msg/Image, 5); name one by --truth' in error


@pytest.mark.parametrize('topics, own', [
    (['/points', '/scan'], ['/points', '/scan']), (['/lidar/points'], []),
    (['/camera/depth/image', '/camera/depth/camera_info'], []), (['/velodyne_points'], []),
    (['/robot/points', '/robot/depth/image'], ['/robot/depth/image', '/robot/points']),
    (['/robot/points', '/robot/range_mask'], ['/robot/points', '/robot/range_mask']),
    (['/da_ros/scan', '/da_ros/points', '/truth/depth/image'],
     ['/da_ros/points', '/da_ros/scan'])])
def test_outputs_of_the_node_are_known_by_name_and_company(topics, own):
    kinds = {topic: next(kind for name, kind in OUTPUTS.items() if topic.endswith(name))
             for topic in topics}
    assert sorted(own_topics(kinds)) == own


@pytest.mark.parametrize('prefix', ['', '/robot'])
def test_virtual_views_of_the_node_are_neither_camera_nor_truth(
        tmp_path, bundle, capsys, prefix):  # noqa: F811
    source = drive(tmp_path / 'source', seconds=0.5)

    def with_views(bag, message):
        if message.topic == IMAGE:
            stamp, view = stamp_ns(message.decode()), f'{prefix}/views/front'
            bag.write(f'{view}/camera_info', uncalibrated(bag, stamp), message.log_ns)
            for topic, pixels, encoding in (('image', np.ones((2, 3, 3), np.uint8), 'bgr8'),
                                            ('depth', np.ones((2, 3), np.float32), '32FC1')):
                bag.write(f'{view}/{topic}', bag.image(stamp, 'front', pixels, encoding),
                          message.log_ns)
        return (message.topic if message.topic != '/camera/depth/image' else ''), None
    assert run(copy(source, tmp_path / 'bag', with_views), bundle, tmp_path / 'out') == 0
    assert report(tmp_path / 'out')['truth_topic'] == '/lidar/points'
    assert report(tmp_path / 'out')['image_topic'] == IMAGE
    assert f'not taken for truth: {prefix}/views/front/depth, {prefix}/views/front/image (if' \
        in capsys.readouterr().out


@pytest.mark.parametrize('topic', ['/da_ros/points', '/da_ros/scan', '/da_ros/depth/image'])
def test_the_network_is_never_compared_with_itself(
        tmp_path, bundle, with_outputs, capsys, topic):  # noqa: F811
    bare, both = with_outputs

    def renamed(_, message):      # a node whose outputs were remapped to names that tell nothing
        if message.topic == topic:
            return '/obstacles_depth', None
        return (message.topic, None) if message.topic == '/tf_static' else ('', None)
    bag = copy(bare, tmp_path / 'bag', lambda b, m: renamed(b, m) if m.topic not in (
        IMAGE, '/tf') else (m.topic, None), both)
    assert run(bag, bundle, tmp_path / 'out', '--camera-height', 0.75) == 0
    out = capsys.readouterr().out
    assert '/obstacles_depth is not taken for truth: it repeats the prediction' in out
    assert report(tmp_path / 'out')['truth_topic'] == ''
    assert run(bag, bundle, tmp_path / 'out', '--camera-height', 0.75,
               '--truth', '/obstacles_depth') == 1
    assert 'the prediction fits /obstacles_depth to 0.0 mm: that is no sensor' \
        in capsys.readouterr().err


def test_outputs_beside_a_sensor_are_passed_over(tmp_path, bundle, with_outputs,  # noqa: F811
                                                 capsys):
    lidar = drive(tmp_path / 'lidar', seconds=1.0)
    names = {'/da_ros/points': '/points', '/da_ros/scan': '/scan', IMAGE: IMAGE, '/tf': '/tf',
             '/tf_static': '/tf_static', '/lidar/points': '/velodyne_points'}
    bag = copy(lidar, tmp_path / 'bag', lambda _, m: (names.get(m.topic, ''), None),
               with_outputs[1])
    run(bag, bundle, tmp_path / 'out', '--camera-height', 0.75)
    found = report(tmp_path / 'out')
    assert found['truth_topic'] == '/velodyne_points' and found['problems'] == []
    assert 'not taken for truth: /points, /scan' in capsys.readouterr().out


def test_points_at_the_sensor_are_no_returns(tmp_path, bundle, capsys):  # noqa: F811
    source = drive(tmp_path / 'source', seconds=1.0)
    rng = np.random.default_rng(0)

    def holes(bag, message):
        if message.kind != POINTS:
            return message.topic, None
        cloud = message.decode()
        points = points_of(cloud)
        none = np.concatenate([np.zeros((200, 3)), rng.normal(0, 0.01, (200, 3))])
        mixed = np.concatenate([points, none]).astype(np.float32)
        return message.topic, bag.points(stamp_ns(cloud), cloud.header.frame_id, mixed)
    bag = copy(source, tmp_path / 'holes', holes)
    options = '--truth', '/lidar/points', '--camera-height', 0.75
    assert run(source, bundle, tmp_path / 'clean', *options) == 0
    capsys.readouterr()
    assert run(bag, bundle, tmp_path / 'out', *options) == 0
    out = capsys.readouterr().out
    assert 'of /lidar/points (' in out and 'are nearer than 0.1 m to the sensor' in out
    clean, found = (published(tmp_path / name) for name in ('clean', 'out'))
    assert found['obstacles'] == clean['obstacles'] and found['groups'] == clean['groups']
    assert run(bag, bundle, tmp_path / 'mast', *options, '--truth-min-range', 1.5) == 0
    rows = published(tmp_path / 'mast')['obstacles_by_range']
    assert sum(rows[name]['obstacles'] for name in ('0-0.5 m', '0.5-1 m')) == 0


def test_pixels_of_a_depth_panorama_without_a_return_are_unknown(
        tmp_path, bundle, capsys):  # noqa: F811
    source = drive(tmp_path / 'source', seconds=0.6)

    def holes(bag, message):
        if message.topic != '/camera/depth/image':
            return (message.topic, None) if message.topic == IMAGE else ('', None)
        msg = message.decode()
        depth = range_image_of(msg)
        depth[:, :20], depth[:, 20:40], depth[:, 40:50] = 0, -1, 0.001
        return message.topic, bag.image(stamp_ns(msg), msg.header.frame_id, depth, '32FC1')
    run(copy(source, tmp_path / 'bag', holes), bundle, tmp_path / 'out')
    assert 'count as no return' in capsys.readouterr().out
    assert published(tmp_path / 'out')['groups']['all']['abs_rel'] < 0.01


def test_compressed_depth_gives_the_tables_of_the_raw_depth(tmp_path, bundle):  # noqa: F811
    raw = drive(tmp_path / 'raw', seconds=1.0, depth_kind='16UC1')

    def packed(bag, message):
        if message.topic == '/lidar/points':
            return '', None
        if message.topic != '/camera/depth/image':
            return message.topic, None
        depth = message.decode()
        pixels = np.frombuffer(depth.data, np.uint16).reshape(depth.height, depth.width)
        data = struct.pack('<iff', -1, 0, 0) + cv2.imencode('.png', pixels)[1].tobytes()
        return f'{message.topic}/compressedDepth', bag.new(
            COMPRESSED, header=depth.header, format='16UC1; compressedDepth png',
            data=np.frombuffer(data, np.uint8))
    bag = copy(raw, tmp_path / 'packed', packed)
    run(raw, bundle, tmp_path / 'one', '--truth', '/camera/depth/image')
    run(bag, bundle, tmp_path / 'two')
    assert report(tmp_path / 'two')['truth_topic'] == '/camera/depth/image/compressedDepth'
    assert published(tmp_path / 'one') == published(tmp_path / 'two')


def test_truth_that_cannot_be_read_is_left_alone_unless_it_is_asked_for(
        tmp_path, bundle, capsys):  # noqa: F811
    source = drive(tmp_path / 'source', seconds=1.0)

    def packed(bag, message):
        if message.topic != '/camera/depth/image':
            return (message.topic, None) if message.topic != '/lidar/points' else ('', None)
        return '/depth/compressedDepth', bag.new(
            COMPRESSED, header=message.decode().header, format='16UC1; compressedDepth rvl',
            data=np.zeros(100, np.uint8))
    bag = copy(source, tmp_path / 'bag', packed)
    assert run(bag, bundle, tmp_path / 'out') == 0
    assert "/depth/compressedDepth is not taken for truth: compressed depth of format '16UC1; " \
           "compressedDepth rvl' is no 16-bit PNG" in capsys.readouterr().out
    assert np.isfinite(report(tmp_path / 'out')['flicker']['p50'])
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/depth/compressedDepth') == 1
    assert '/depth/compressedDepth gave no usable message: compressed' in capsys.readouterr().err


@pytest.mark.parametrize('broken, reason', [
    ('datatype', "/lidar/points is not taken for truth: point cloud field 'x' has datatype 0"),
    ('step', '/lidar/points is not taken for truth: point cloud of '),
    ('empty', '/rgbd/depth/image is not taken for truth: depth image is empty'),
    ('uncalibrated', '/rgbd/depth/image is not taken for truth: /rgbd/depth/image: CameraInfo has '
                     'no focal length .fx 0, fy 0.; calibrate it')])
def test_a_sensor_without_usable_messages_does_not_end_the_evaluation(
        tmp_path, bundle, capsys, broken, reason):  # noqa: F811
    source = drive(tmp_path / 'source', seconds=0.6)

    def breaking(bag, message):
        if message.topic == '/camera/depth/image':
            if broken not in ('empty', 'uncalibrated'):
                return '', None
            stamp = stamp_ns(message.decode())
            depth = bag.image(stamp, 'rgbd', np.ones((2, 3), np.float32), '32FC1')
            bag.write('/rgbd/depth/camera_info', uncalibrated(bag, stamp), message.log_ns)
            return '/rgbd/depth/image', replace(
                depth, **({'height': 0, 'data': depth.data[:0]} if broken == 'empty' else {}))
        if message.topic != '/lidar/points':
            return message.topic, None
        cloud = message.decode()
        if broken == 'datatype':
            return message.topic, replace(
                cloud, fields=[replace(field, datatype=0) for field in cloud.fields])
        return (message.topic, replace(cloud, point_step=4)) if broken == 'step' else ('', None)
    assert run(copy(source, tmp_path / 'bag', breaking), bundle, tmp_path / 'out') == 0
    assert re.search(reason, capsys.readouterr().out)


def test_a_damaged_cloud_costs_only_itself(tmp_path, bundle, capsys):  # noqa: F811
    source, seen = drive(tmp_path / 'source', seconds=0.6), []

    def breaking(_, message):
        if message.topic == '/camera/depth/image':
            return '', None
        if message.topic == '/lidar/points':
            seen.append(message)
            if len(seen) == 2:
                return message.topic, replace(message.decode(), point_step=0)
        return message.topic, None
    assert run(copy(source, tmp_path / 'bag', breaking), bundle, tmp_path / 'out') == 0
    assert '1 messages of /lidar/points could not be used: point cloud of' in \
        capsys.readouterr().out


def uncalibrated(bag, stamp):
    zeros, region = np.zeros(12), bag.new(
        'sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0,
        do_rectify=False)
    return bag.new(CAMERA_INFO, header=bag.header(stamp, 'rgbd'), height=2, width=3,
                   distortion_model='', d=zeros[:0], k=zeros[:9], r=zeros[:9], p=zeros,
                   binning_x=0, binning_y=0, roi=region)

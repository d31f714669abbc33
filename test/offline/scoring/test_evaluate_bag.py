# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The bag evaluation end to end: real bags, real estimator, known answers."""

import csv
import json
from pathlib import Path

from coded_bundle import paint, write_coded_bundle
import numpy as np
import pytest

from da_ros.bags.bag import BagReader, IMAGE, POINTS, SCAN
from da_ros.bags.bag_writer import BagWriter
from da_ros.scan import Scan
from training import evaluate_bag
from training.demo_bag import DriveConfig, START_NS, write_drive

S = 10**9
LIDAR = '--truth', '/lidar/points'
BASE = DriveConfig(seconds=3.0, rate_hz=5.0, height=64, compressed=False, stamp_delay_s=0.0,
                   lidar_noise_m=0.0, depth_kind='32FC1', depth_every=1)


def drive(path, **changes):
    from dataclasses import replace
    write_drive(path, replace(BASE, **changes), paint=lambda image, range_m: paint(range_m))
    return path


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return write_coded_bundle(tmp_path_factory.mktemp('b') / 'coded')


@pytest.fixture(scope='module')
def late_bag(tmp_path_factory):
    return drive(tmp_path_factory.mktemp('bags') / 'late', seconds=5.0, stamp_delay_s=0.12,
                 drop=0.1)


def run(bag, bundle, out, *args):
    return evaluate_bag.main([str(a) for a in (
        bag, '--bundle', bundle, '--out', out, '--backend', 'onnxruntime', '--threads', 1, *args)])


def report(out):
    return json.loads((Path(out) / 'report.json').read_text())


def rows(out):
    with (Path(out) / 'frames.csv').open() as stream:
        return list(csv.DictReader(stream))


def published(out):
    return report(out)['predictors']['coded']['variants']['as published']


def test_late_stamps_are_found_and_mended(tmp_path, bundle, late_bag, capsys):
    assert run(late_bag, bundle, tmp_path, *LIDAR, '--camera-height', 0.75) == 0
    found = report(tmp_path)
    assert found['suggested_stamp_offset_s'] == pytest.approx(-0.12, abs=0.015)
    assert 'set stamp_offset_s: -0.1' in capsys.readouterr().out
    late = published(tmp_path)['groups']['all']['abs_rel']
    assert run(late_bag, bundle, tmp_path / 'mended', *LIDAR, '--camera-height', 0.75,
               '--stamp-offset', -0.12) == 0
    mended = published(tmp_path / 'mended')['groups']['all']
    assert mended['abs_rel'] < 0.6 * late              # pixels of 2.8 degrees
    assert mended['miss_rate_3m'] < 0.15
    assert found['stream']['missing'] >= 1                      # dropped frames are seen
    assert found['flicker']['p50'] < 0.03


def test_truth_is_a_depth_panorama_bit_for_bit(tmp_path, bundle):
    bag = drive(tmp_path / 'bag', seconds=1.0)
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/camera/depth/image',
               '--mounting-height', 0.75) == 0
    scores = published(tmp_path / 'out')
    assert scores['obstacles']['within 3 m']['miss_rate'] == 0
    assert report(tmp_path / 'out')['predictors']['coded']['masks']['10 m']['iou'] > 0.99
    assert scores['groups']['all']['abs_rel'] < 0.01            # steps of the paint
    assert {name for name in scores['labels'] if 'azimuth' in name} and len(scores['labels']) > 12
    assert [row['frame'] for row in rows(tmp_path / 'out')] == ['0', '1', '2', '3', '4']
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.count('<img src="data:image/') >= 2 and 'http' not in page


@pytest.mark.parametrize('storage, depth', [('sqlite3', '16UC1'), ('mcap', '16UC1')])
def test_storages_and_depth_encodings_give_the_same_tables(tmp_path, bundle, storage, depth):
    bag = drive(tmp_path / 'bag', seconds=1.0, storage=storage, depth_kind=depth)
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/camera/depth/image') == 0
    assert published(tmp_path / 'out')['groups']['all']['abs_rel'] < 0.01


def test_without_truth_consistency_and_latency_are_measured_and_said_so(
        tmp_path, bundle, late_bag, capsys):
    assert run(late_bag, bundle, tmp_path, '--truth', 'none', '--every', 3) == 0
    assert 'No truth in this bag: consistency and latency only.' in capsys.readouterr().out
    found = report(tmp_path)
    assert found['stream']['rate_hz'] == pytest.approx(5, rel=0.01)      # not of every third
    assert found['latency_ms']['p50'] > 0 and np.isfinite(found['flicker']['p50'])
    assert all(row['abs_rel'] == 'nan' for row in rows(tmp_path))


def test_truth_that_never_overlaps_is_an_error_after_the_report(tmp_path, bundle, capsys):
    bag = drive(tmp_path / 'bag', seconds=1.0, lidar_skew_s=1000.0)
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/lidar/points') == 1
    error = capsys.readouterr().err
    assert 'no frame has truth: images span 1700000000.000' in error
    assert '/lidar/points spans 1700001000' in error
    assert len(rows(tmp_path / 'out')) == 5


@pytest.mark.parametrize('points', [np.zeros((9, 3)), np.full((9, 3), np.nan),
                                    np.zeros((0, 3)), np.full((9, 3), 0.03)])
def test_truth_without_a_measurement_is_not_blamed_on_clocks(tmp_path, bundle, capsys, points):
    with BagWriter(tmp_path / 'bag') as bag:
        for i in range(3):
            bag.write('/camera/image', bag.image(
                S, 'camera', paint(np.full((64, 128), 3.0)), 'bgr8'), i * S)
            bag.write('/lidar', bag.points(S, 'camera', points.astype(np.float32)), i * S)
    assert run(tmp_path / 'bag', bundle, tmp_path / 'out') == 1
    told = capsys.readouterr()
    assert 'no message of /lidar holds a measurement: all are NaN, outside' in told.err
    assert 'check the clocks' not in told.out + told.err
    assert '3 images, 3 used, rate not known, 2 stamps that do not rise' in told.out


def test_missing_transform_names_the_link_and_an_extrinsic_replaces_it(
        tmp_path, bundle, capsys):
    bag = drive(tmp_path / 'bag', seconds=1.0, transforms=False)
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/lidar/points') == 1
    assert "no transform from 'lidar_link' to 'camera_optical_frame'" in capsys.readouterr().err
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/lidar/points', '--extrinsic',
               0.25, 0, -0.3, 0, 0, 0) == 0
    assert published(tmp_path / 'out')['groups']['all']['abs_rel'] < 0.06
    assert 'the bag tells no motion' in capsys.readouterr().out


def test_unusable_frames_are_rows_with_their_reason(tmp_path, bundle):
    with BagWriter(tmp_path / 'bag') as bag:
        image = paint(np.full((64, 128), 3.0))
        for i in range(3):
            bag.write('/camera/image', bag.image(i * S, 'camera', image, 'bgr8'), i * S)
        bag.write('/camera/image', bag.image(3 * S, 'camera', image, 'yuv999'), 3 * S)
        bag.write('/camera/image', bag.image(4 * S, 'camera', image[:50], 'bgr8'), 4 * S)
    assert run(tmp_path / 'bag', bundle, tmp_path / 'out') == 0
    found = rows(tmp_path / 'out')
    assert len(found) == 5 and found[2]['infer_ms']
    assert 'yuv999' in found[3]['error'] and '128 x 50' in found[4]['error']
    assert '2 refused' in (tmp_path / 'out' / 'report.md').read_text()


def test_damaged_bag_keeps_what_was_done(tmp_path, bundle, capsys):
    with BagWriter(tmp_path / 'bag') as bag:
        image = paint(np.full((384, 768), 3.0))
        for i in range(12):
            bag.write('/camera/image', bag.image(i * S, 'camera', image, 'bgr8'), i * S)
    file = tmp_path / 'bag' / 'bag.mcap'
    data = bytearray(file.read_bytes())
    data[6_000_000:8_000_000] = b'\xff' * 2_000_000
    file.write_bytes(data)
    assert run(file, bundle, tmp_path / 'out') == 1
    assert 'ended early' in capsys.readouterr().err
    assert 0 < len(rows(tmp_path / 'out')) < 12
    assert (tmp_path / 'out' / 'report.html').is_file()


def test_pinhole_depth_with_camera_info_and_laser_scan_serve_as_truth(tmp_path, bundle):
    wall = np.full((64, 128), 4.0, np.float32)
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write('/tf_static', bag.transform(
            0, 'camera_optical', 'lidar', (0, 0, 0), (0.5, -0.5, 0.5, 0.5)), 0)
        info = bag.new(
            'sensor_msgs/msg/CameraInfo', header=bag.header(0, 'camera_optical'), height=30,
            width=40, distortion_model='plumb_bob', d=np.zeros(5),
            k=np.array([400.0, 0, 20, 0, 400, 15, 0, 0, 1]), r=np.eye(3).ravel(),
            p=np.zeros(12), binning_x=0, binning_y=0, roi=bag.new(
                'sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0,
                do_rectify=False))
        bag.write('/depth/camera_info', info, 0)
        for i in range(2):
            stamp = (i + 1) * S
            bag.write('/camera/image', bag.image(stamp, 'camera_optical', paint(wall), 'bgr8'),
                      stamp)
            bag.write('/depth/image', bag.image(stamp, 'camera_optical', np.full(
                (30, 40), 4.02, np.float32), '32FC1'), stamp)
            bag.write('/scan', bag.scan(stamp, 'lidar', Scan(
                np.full(90, 4.02, np.float32), -np.pi, np.pi / 45, 0.1, 10.0)), stamp)
    for topic in ('/depth/image', '/scan'):
        out = tmp_path / topic.replace('/', '')
        assert run(tmp_path / 'bag', bundle, out, '--truth', topic) == 0
        assert published(out)['groups']['all']['abs_rel'] < 0.01
        assert float(rows(out)[0]['truth_share']) > 0


def test_pinhole_depth_without_camera_info_is_refused(tmp_path, bundle, capsys):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write('/camera/image', bag.image(S, 'c', paint(np.full((64, 128), 2.0)), 'bgr8'), S)
        bag.write('/depth/image', bag.image(S, 'c', np.ones((30, 50), np.float32), '32FC1'), S)
    assert run(tmp_path / 'bag', bundle, tmp_path / 'out', '--truth', '/depth/image') == 1
    assert '/depth/image is 50 x 30 px, so it is no panorama' in capsys.readouterr().err


def test_bag_of_outputs_holds_predictions_beside_the_truth(tmp_path, bundle):
    bag = drive(tmp_path / 'bag', seconds=1.0)
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/camera/depth/image',
               '--write-bag', tmp_path / 'both') == 0
    with BagReader(tmp_path / 'both') as both:
        assert both.kinds == {
            '/camera/image/compressed': 'sensor_msgs/msg/CompressedImage',
            '/da_ros/depth/image': IMAGE, '/da_ros/points': POINTS, '/da_ros/scan': SCAN,
            '/truth/depth/image': IMAGE, '/tf': 'tf2_msgs/msg/TFMessage',
            '/tf_static': 'tf2_msgs/msg/TFMessage'}
        assert both.counts['/da_ros/depth/image'] == 5
        tree = both.transforms()
        assert tree.root('camera_link') == 'odom' == tree.root('lidar_link')
    assert run(bag, bundle, tmp_path / 'out', '--write-bag', tmp_path / 'both') == 1


@pytest.mark.parametrize('args, text', [
    (['--image', '/camera/imag'], 'did you mean /camera/image'),
    (['--truth', '/tf'], '/tf is tf2_msgs/msg/TFMessage; truth needs'),
    (['--range-mask', '7'], 'range_mask_m 7 is not in bundle'),
    (['--max-range', '0.1'], 'max_range_m 0.1 is outside'),
])
def test_wrong_arguments_are_one_line(tmp_path, bundle, late_bag, capsys, args, text):
    assert run(late_bag, bundle, tmp_path / 'out', *args) == 1
    error = capsys.readouterr().err.strip()
    assert text in error and '\n' not in error


def test_bag_without_images_lists_what_there_is(tmp_path, bundle, capsys):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write('/lidar/points', bag.points(1, 'l', np.ones((2, 3), np.float32)), 1)
    assert run(tmp_path / 'bag', bundle, tmp_path / 'out') == 1
    assert '/lidar/points (sensor_msgs/msg/PointCloud2, 1)' in capsys.readouterr().err


def test_demo_drive_starts_at_its_epoch_and_keeps_frames_connected(late_bag):
    with BagReader(late_bag) as bag:
        tree = bag.transforms()
        assert tree.root('camera_optical_frame') == tree.root('lidar_link') == 'odom'
        pose = tree.between('odom', START_NS, 'camera_link', START_NS)
        assert pose[2, 3] == pytest.approx(0.75)


def test_scale_invariant_bundle_is_judged_aligned_or_with_the_scale_it_is_given(tmp_path, capsys):
    bundle = write_coded_bundle(tmp_path / 'units', scale=0.05, kind='scale_invariant',
                                metres_per_unit=None, max_range_m=None)
    bag = drive(tmp_path / 'bag', seconds=1.0)
    truth = ['--truth', '/camera/depth/image']
    assert run(bag, bundle, tmp_path / 'free', *truth, '--range-mask', 0) == 0
    assert 'only the median-aligned table is in metres' in capsys.readouterr().err
    tables = report(tmp_path / 'free')['predictors']['coded']['variants']
    assert tables['median-aligned']['groups']['all']['abs_rel'] < 0.02
    assert tables['as published']['groups']['all']['abs_rel'] > 0.9
    assert run(bag, bundle, tmp_path / 'fixed', *truth, '--scale-source', 'fixed',
               '--metres-per-unit', 20) == 0
    assert published(tmp_path / 'fixed')['groups']['all']['abs_rel'] < 0.02

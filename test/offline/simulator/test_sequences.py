# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rendered drives: what stands still stays where the poses say, what walks does not."""

from itertools import pairwise
import json

import numpy as np
import pytest

pytest.importorskip('open3d', reason='open3d cannot be imported (its wheel needs libusb-1.0)',
                    exc_type=ImportError)
cv2 = pytest.importorskip('cv2')

from da_ros.bags.bag import BagReader, ODOMETRY  # noqa: E402
from da_ros.bags.contents import range_image_of  # noqa: E402
from da_ros.stamps import stamp_ns  # noqa: E402
from training import simulate  # noqa: E402
from training.data.shards import read_shard  # noqa: E402
from training.scoring.bags.checks import flicker  # noqa: E402
from training.simulator.scene import Material, Scene  # noqa: E402
from training.simulator.sequences.walks import walk, Walker  # noqa: E402
from training.simulator.shapes import box, cylinder, moved  # noqa: E402
from training.simulator.textures import TextureStore  # noqa: E402

FRAMES = 6
GREY = Material(tint=(0.5, 0.5, 0.5))


@pytest.fixture(scope='module')
def drives(tmp_path_factory):
    """A folder with a shard and a bag of one small drive through a hall."""
    root = tmp_path_factory.mktemp('drives')
    for name in ('wall/a', 'floor/b'):
        file = root / 'assets/textures' / f'{name}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    (root / 'assets/scenes').mkdir()
    (root / 'assets/scenes/objects.json').write_text(json.dumps([]))
    assert simulate.main(['--assets', f'{root}/assets', '--out', f'{root}/out', '--sequence',
                          str(FRAMES), '--count', str(FRAMES), '--size', '64x128', '--mix',
                          'hall=1', '--seed', '5', '--bags']) == 0
    return root / 'out'


def poses_of(samples):
    return [np.array(sample.meta['odom_from_camera']) for sample in samples]


def test_static_points_are_seen_where_the_exact_poses_say(drives):
    samples = list(read_shard(drives / '00000.tar'))
    poses = poses_of(samples)
    assert [sample.meta['stamp_s'] for sample in samples] == [n / 10 for n in range(FRAMES)]
    for (a, b), (before, now) in zip(pairwise(samples), pairwise(poses)):
        motion = np.linalg.inv(now) @ before
        assert flicker(a.range_m, b.range_m, motion) < 0.03      # a pixel is 2.8 degrees
        assert 0 < np.linalg.norm(motion[:3, 3]) < 0.15          # it drives, and jumps nowhere


def test_a_drive_depends_on_its_seed_alone(drives, tmp_path):
    again = tmp_path / 'again'
    assert simulate.main(['--assets', f'{drives.parent}/assets', '--out', str(again), '--sequence',
                          str(FRAMES), '--count', str(FRAMES), '--size', '64x128', '--mix',
                          'hall=1', '--seed', '5']) == 0
    for a, b in zip(read_shard(drives / '00000.tar'), read_shard(again / '00000.tar')):
        assert np.array_equal(a.image, b.image) and a.meta == b.meta


def test_a_bag_holds_the_frames_their_range_and_their_odometry(drives):
    samples = list(read_shard(drives / '00000.tar'))
    with BagReader(drives / '00000') as bag:
        assert bag.kinds['/odom'] == ODOMETRY
        assert set(bag.counts.values()) == {FRAMES, 2}      # two static transforms
        tree = bag.transforms()
        for sample, message in zip(samples, bag.messages(['/camera/depth/image'])):
            msg = message.decode()
            assert np.array_equal(range_image_of(msg), sample.range_m, equal_nan=True)
            time_ns = stamp_ns(msg)
            pose = tree.between('odom', time_ns, 'camera_link', time_ns)
            assert np.allclose(pose, sample.meta['odom_from_camera'], atol=1e-9)


def test_walkers_bump_into_nothing_and_not_into_each_other():
    scene = Scene(TextureStore())
    for x, y, wide, deep in ((0, 4, 10, 0.1), (0, -4, 10, 0.1), (5, 0, 0.1, 8), (-5, 0, 0.1, 8)):
        scene.add(moved(box(wide, deep, 2.0), x, y), GREY)
    scene.add(cylinder(0.4, 2.0), GREY)
    robot = Walker(np.array([-3.0, 0.0]), 0.0, 0.0, 0.25, 1.0, 1.0, (0.3, 0.9))
    person = Walker(np.array([3.0, 0.2]), np.pi, 0.0, 0.3, 1.4, 1.5, (0.3, 1.2))
    walk(np.random.default_rng(0), scene, [robot, person], 150, 0.1)
    a, b = np.array(robot.track)[:, :2], np.array(person.track)[:, :2]
    for track, radius in ((a, 0.25), (b, 0.3)):
        assert (np.linalg.norm(track, axis=1) > 0.35 + 0.8 * radius).all()
        assert (np.abs(track) < (4.95, 3.95)).all()
        assert np.linalg.norm(np.diff(track, axis=0), axis=1).max() <= 0.15
        assert np.linalg.norm(np.diff(track, axis=0), axis=1).sum() > 4
    assert np.linalg.norm(a - b, axis=1).min() > 0.4


def test_what_stands_in_one_moment_is_gone_in_the_next():
    scene = Scene(TextureStore())
    scene.add(moved(box(1, 10, 10, -5), 5.5), GREY)
    ahead = np.array([[1.0, 0, 0]], np.float32)
    for distance in (2.0, 3.0):
        moment = scene.overlaid()
        moment.add(moved(box(1, 1, 1, -0.5), distance + 0.5), GREY)
        assert moment.cast(np.zeros(3, np.float32), ahead)[0] == pytest.approx([distance])
        assert moment.occluded(np.zeros((1, 3), np.float32), ahead, np.array([4.0])).all()
        normal = moment.normals[moment.cast(np.zeros(3, np.float32), ahead)[1]]
        assert np.abs(normal @ ahead[0]) == pytest.approx([1.0])
    assert scene.cast(np.zeros(3, np.float32), ahead)[0] == pytest.approx([5.0])


@pytest.mark.parametrize('words, said', [
    (['--sequence', '-1'], '--sequence -1 must be 1 or more'),
    (['--sequence', '5', '--benchmark', 'outdoor'], 'without --benchmark'),
    (['--bags'], '--bags needs --sequence')])
def test_words_that_make_no_drive_are_one_line(tmp_path, capsys, words, said):
    assert simulate.main(['--assets', str(tmp_path), '--out', f'{tmp_path}/o', *words]) == 1
    assert said in capsys.readouterr().err

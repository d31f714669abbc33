# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The scale over time: steady under noise, frozen without a floor, started anew by a jump."""

from coded_bundle import paint, write_coded_bundle
import numpy as np
import pytest

from da_ros.cameras.rig import Rig
from da_ros.config import RangeRule, ScaleConfig
from da_ros.estimator import RangeEstimator
from da_ros.memory.scale_track import (
    GATE,
    held_to_floor,
    JUMP_FRAMES,
    log_floor_depth,
    ScaleTrack,
    tracked_metres_per_unit,
)
from da_ros.sphere import erp_rays

HW = (64, 128)


def room(height_m=1.0, wall_m=6.0, floor=True):
    """Return the range in a round room of radius 6 m without a ceiling."""
    up = erp_rays(*HW)[..., 2]
    wall = wall_m / np.sqrt(1 - up ** 2)
    with np.errstate(divide='ignore'):
        below = np.where(up < 0, height_m / -up, np.inf)
    return np.minimum(wall, below if floor else np.inf).astype(np.float32)


def test_the_floor_of_a_room_tells_the_camera_height():
    assert log_floor_depth(room(0.8)) == pytest.approx(np.log(0.8), abs=0.01)
    assert np.isnan(log_floor_depth(room(floor=False)))


def test_a_scale_that_flickers_from_frame_to_frame_is_held():
    track, rng = ScaleTrack(), np.random.default_rng(0)
    scales = np.exp(rng.normal(0, 0.02, 40))
    walls = [held_to_floor(room() * np.float32(s), track)[32, 5] for s in scales]
    steps = np.abs(np.diff(np.log(walls)))
    assert np.median(steps) < 0.25 * np.median(np.abs(np.diff(np.log(scales))))
    assert walls[-1] == pytest.approx(room()[32, 5], rel=0.03)
    assert 'this frame' in track.state


def test_a_frame_without_floor_is_left_alone_and_freezes_the_mean():
    track = ScaleTrack()
    assert track.state == 'no floor seen yet'
    blind = room(floor=False)
    assert held_to_floor(blind, track) is blind and np.isnan(track.log_scale)
    held_to_floor(room(0.7), track)
    before = track.log_scale
    assert held_to_floor(blind, track) is blind
    assert track.log_scale == before
    assert track.state == f'frozen at {np.exp(before):.3f}: no floor in this frame'


def test_a_table_below_does_not_move_the_mean_but_a_new_height_does():
    track = ScaleTrack()
    for _ in range(3):
        held_to_floor(room(1.0), track)
    mean = track.log_scale
    table = room(0.6)
    for _ in range(JUMP_FRAMES - 1):
        assert held_to_floor(table, track) is table and track.log_scale == mean
        assert 'this frame says 0.6' in track.state
    held_to_floor(room(1.0), track)
    assert track.log_scale == pytest.approx(mean, abs=1e-3)     # the odd ones were not in a row
    for _ in range(JUMP_FRAMES):
        held_to_floor(table, track)
    assert track.log_scale == pytest.approx(np.log(0.6), abs=0.01)
    assert 'started again after a jump' in track.state


def test_odd_frames_that_do_not_agree_never_start_a_scale():
    track = ScaleTrack()
    track.update(0.0)
    for n in range(20):
        assert not track.update((1 + n % 2) * 1.5 * GATE * (-1) ** n)
    assert track.log_scale == 0.0


def test_metres_per_unit_of_a_scale_invariant_bundle_outlive_the_floor():
    track = ScaleTrack()
    assert np.isnan(tracked_metres_per_unit(room(floor=False), 1.2, track))
    for scale in (0.99, 1.01, 1.0):
        factor = tracked_metres_per_unit(room(1.0) * np.float32(scale / 2), 1.2, track)
        assert factor == pytest.approx(2.4, rel=0.02)
    without = tracked_metres_per_unit(room(floor=False), 1.2, track)
    assert without == pytest.approx(factor, rel=0.01)


def test_a_change_of_bundle_forgets_the_scale():
    track = ScaleTrack()
    track.update(0.3)
    track.reset('another bundle')
    assert np.isnan(track.log_scale) and track.state == 'no floor seen yet: another bundle'


class Camera:
    """An estimator whose network reads the painted range, in rooms of any scale."""

    def __init__(self, folder, scale, camera_height_m=0.0, **bundle):
        self.estimator = RangeEstimator(
            write_coded_bundle(folder, HW, **bundle), 'onnxruntime', 1,
            RangeRule(range_mask_m=0, camera_height_m=camera_height_m))
        self.estimator.scale = scale

    def wall(self, range_m):
        return float(self.estimator.predict(paint(range_m)).range_m[31, 5])


def test_a_metric_network_that_breathes_is_held_and_one_without_track_is_not(tmp_path):
    rooms = [room() * np.float32(s) for s in (1, 1.04, 0.96, 1.03, 0.98, 1.05)]
    held = Camera(tmp_path / 'held', ScaleConfig(track=True))
    free = Camera(tmp_path / 'free', ScaleConfig())
    assert np.ptp(np.log([held.wall(r) for r in rooms])) < 0.03
    assert np.ptp(np.log([free.wall(r) for r in rooms])) > 0.07
    assert 'this frame 1.04' in held.estimator.track.state
    assert free.estimator.track.state == 'no floor seen yet'


@pytest.mark.parametrize('scale', [ScaleConfig('fixed', 0.5, True),
                                   ScaleConfig('camera_height', track=True)])
def test_a_scale_invariant_network_is_held_too_and_keeps_its_metres_without_a_floor(
        tmp_path, scale):
    camera = Camera(tmp_path / 'b', scale, 0.5, kind='scale_invariant', max_range_m=None)
    walls = [camera.wall(room() * np.float32(s)) for s in (1, 1.04, 0.96, 1.03, 0.98, 1.05)]
    assert np.ptp(np.log(walls)) < 0.03
    assert walls[0] == pytest.approx(3.0, rel=0.02)
    assert camera.wall(room(floor=False)) == pytest.approx(3.0, rel=0.05)
    assert 'frozen' in camera.estimator.track.state


def test_a_change_of_height_scale_or_mounting_starts_the_scale_anew(tmp_path):
    camera = Camera(tmp_path / 'b', ScaleConfig(track=True))
    estimator, wide = camera.estimator, room(1.2)
    for change in (lambda: setattr(estimator, 'rule', RangeRule(0, camera_height_m=1.2)),
                   lambda: setattr(estimator, 'scale', ScaleConfig('none', 2.0, True)),
                   lambda: setattr(estimator, 'rig', Rig())):
        for _ in range(2):
            camera.wall(room(0.8))
        change()
        assert camera.wall(wide) == pytest.approx(6.0, rel=0.02)
        assert estimator.track.state.startswith('1.2') and 'started' in estimator.track.state

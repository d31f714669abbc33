# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da_ros.sphere import rotation_from_rpy
from training.data.augment import (
    add_body,
    augment,
    burn_out,
    degrade,
    jitter_colour,
    mirror,
    roll_azimuth,
    stitch,
    tilt,
)
from training.data.sample import Sample
from training.simulator.box_room import furnished_room, panorama


def marked_sample(height=16, width=32):
    """A sample whose image encodes its own range: red = 10 x range."""
    rng = np.random.default_rng(0)
    range_m = rng.integers(1, 25, (height, width)).astype(np.float32)
    image = np.repeat((range_m * 10).astype(np.uint8)[..., None], 3, -1)
    range_m[0, :3] = np.inf
    image[0, :3] = 0
    return Sample(image, range_m, np.isfinite(range_m), 'test', 1.0)


def agrees(sample):
    told = sample.image[..., 0] / 10
    return (np.array_equal(sample.range_m[sample.valid], told[sample.valid])
            and np.array_equal(sample.valid, np.isfinite(sample.range_m)))


@pytest.mark.parametrize('change', [mirror, lambda s: roll_azimuth(s, 5),
                                    lambda s: roll_azimuth(mirror(s), -9)])
def test_range_follows_the_image(change):
    assert agrees(change(marked_sample()))


def test_mirror_twice_and_rolling_back_change_nothing():
    sample = marked_sample()
    back = roll_azimuth(roll_azimuth(mirror(mirror(sample)), 7), -7)
    assert np.array_equal(back.image, sample.image)
    assert np.array_equal(back.range_m, sample.range_m)


@pytest.mark.parametrize('change', [jitter_colour, degrade, stitch, burn_out])
def test_colours_seams_and_quality_keep_size_and_type(change):
    for seed in range(6):
        image = change(marked_sample(32, 64).image, np.random.default_rng(seed))
        assert image.dtype == np.uint8 and image.shape == (32, 64, 3)


def test_augmented_range_and_validity_agree():
    for seed in range(40):
        sample = augment(marked_sample(32, 64), np.random.default_rng(seed))
        assert np.array_equal(sample.valid, np.isfinite(sample.range_m))
        assert sample.range_m.dtype == np.float32 and sample.camera_height_m == 1.0


def room_sample(rotation, height=256):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, (2.0, 0.4, 1.1)
    image, range_m = panorama(furnished_room(), pose, height, 2 * height)
    return Sample(image, range_m, np.isfinite(range_m), 'room', 1.1)


@pytest.mark.parametrize('roll, pitch', [(0.1, 0.0), (0.0, -0.3), (0.25, 0.15), (1.2, 0.9)])
def test_tilted_range_is_that_of_a_tilted_camera(roll, pitch):
    tilted = tilt(room_sample(np.eye(3)), roll, pitch)
    exact = room_sample(rotation_from_rpy(roll, pitch, 0.0))
    error = np.abs(tilted.range_m / exact.range_m - 1)
    assert np.median(error) < 2e-4
    assert (error > 0.02).mean() < 0.03      # pixels on the edge of an object
    colour = np.abs(tilted.image.astype(int) - exact.image).max(-1)
    assert np.median(colour) <= 6


def test_tilting_back_returns_smooth_surfaces():
    sample = room_sample(np.eye(3))
    back = tilt(tilt(sample, 0.2, 0.0), -0.2, 0.0)
    assert np.median(np.abs(back.range_m / sample.range_m - 1)) < 5e-4


def test_tilting_spreads_neither_unknown_nor_empty():
    sample = room_sample(np.eye(3), 64)
    sample.range_m[20:30, 40:50], sample.range_m[5:9] = np.nan, np.inf
    tilted = tilt(sample, 0.1, 0.05)
    for kind in (np.isnan, np.isinf):
        assert abs(int(kind(tilted.range_m).sum()) - int(kind(sample.range_m).sum())) < 60
    known, before = (m[np.isfinite(m)] for m in (tilted.range_m, sample.range_m))
    assert before.min() * 0.99 < known.min() and known.max() < before.max() * 1.01


def test_a_seam_keeps_the_front_and_changes_the_rear_half():
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    stitched = stitch(image, np.random.default_rng(1))
    assert np.array_equal(stitched[:, 40:88], image[:, 40:88])
    assert not np.array_equal(stitched[:, :24], image[:, :24])


def test_a_body_is_unknown_where_the_image_is_covered():
    for seed in range(10):
        sample = marked_sample(64, 128)
        covered = add_body(sample, np.random.default_rng(seed))
        changed = (covered.image != sample.image).any(-1)
        hidden = np.isnan(covered.range_m)
        assert hidden.any() and not (changed & ~hidden).any()
        assert np.array_equal(covered.range_m[~hidden], sample.range_m[~hidden])
        assert not covered.valid[hidden].any()
        assert not np.isnan(sample.range_m).any()           # the original stays as it was


def test_augmentation_depends_on_the_generator_alone():
    first, second = (augment(marked_sample(), np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    other = augment(marked_sample(), np.random.default_rng(4))
    assert not np.array_equal(first.image, other.image)


def test_blur_wraps_across_the_seam():
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 0] = 255
    blurred = [degrade(image, np.random.default_rng(s)) for s in range(40)]
    soft = [b for b in blurred if 0 < b[8, 1, 0] < 255]
    assert soft
    assert all(abs(int(b[8, 1, 0]) - int(b[8, -1, 0])) <= 40 for b in soft)


def test_colour_jitter_keeps_grey_steps_in_order():
    ramp = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], 3, -1)
    for seed in range(5):
        jittered = jitter_colour(ramp, np.random.default_rng(seed)).astype(int)
        assert (np.diff(jittered.sum(-1)) >= -3).all()


def test_what_is_over_exposed_is_brighter_and_white_where_it_was_light():
    image = np.tile(np.array([0, 20, 60, 130, 250], np.uint8)[:, None, None], (1, 4, 3))
    for seed in range(6):
        burnt = burn_out(image, np.random.default_rng(seed))
        assert (burnt[0] == 0).all() and (burnt[4] == 255).all()
        assert (burnt[1:4] > image[1:4]).all()
        assert (np.diff(burnt.astype(int), axis=0) >= 0).all()
        # 0.4 to 1.5 stops of light, as sRGB shows them
        assert 20 * 2 ** (0.4 / 2.2) - 1 < burnt[1].max() < 20 * 2 ** (1.5 / 2.2) + 1

import numpy as np
import pytest

from training.augment import augment, degrade, jitter_colour, mirror, roll_azimuth
from training.sample import Sample


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


@pytest.mark.parametrize('seed', range(6))
def test_colours_and_quality_never_touch_range(seed):
    sample = marked_sample(32, 64)
    changed = augment(sample, np.random.default_rng(seed))
    assert changed.image.dtype == np.uint8 and changed.image.shape == sample.image.shape
    assert np.array_equal(np.sort(changed.range_m, axis=1), np.sort(sample.range_m, axis=1))
    assert changed.camera_height_m == sample.camera_height_m


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

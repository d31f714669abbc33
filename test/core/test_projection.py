# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The look-up from camera to network: closed form at axes, seam and poles, then round trips."""

import cv2
import numpy as np
import pytest

from da_ros.cameras.models import ErpCamera, FisheyeCamera, Lens
from da_ros.panorama import Extent, place, resize_erp, unseen
from da_ros.projection import look_up_index, Projection
from da_ros.sphere import erp_rays, rotation_from_rpy

AXES = {'+x': (1, 0, 0), '-x': (-1, 0, 0), '+y': (0, 1, 0), '-y': (0, -1, 0), '+z': (0, 0, 1),
        '-z': (0, 0, -1)}
TWO_LENSES = FisheyeCamera((480, 960), (
    Lens((240, 240), 236, 200), Lens((720, 240), 236, 200, yaw_deg=180)))


def smooth(rays: np.ndarray) -> np.ndarray:
    """Return a picture that is a smooth function of the ray: its three coordinates as levels."""
    return np.round(127.5 + 100 * rays).astype(np.uint8)


def pano(height: int) -> np.ndarray:
    return smooth(erp_rays(height, 2 * height))


def fisheye_image(camera: FisheyeCamera) -> np.ndarray:
    """Return what a camera with these lenses sees of `smooth`."""
    height, width = camera.size_hw
    image = np.zeros((height, width, 3), np.uint8)
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for lens in camera.lenses:
        inside = np.hypot(col - lens.centre_px[0], row - lens.centre_px[1]) <= lens.radius_px + 2
        image[inside] = smooth(lens.rays(col, row))[inside]
    return image


def rotation(*rpy_deg: float) -> np.ndarray:
    return rotation_from_rpy(*np.deg2rad(rpy_deg))


# ---- where the axes are ----

@pytest.mark.parametrize('mirrored', [False, True])
def test_the_six_axes_lie_where_the_sphere_puts_them(mirrored):
    samples = ErpCamera(mirrored=mirrored).samples(np.float64(list(AXES.values())), 100, 200)
    left, right = (150, 50) if mirrored else (50, 150)
    assert np.allclose(samples.cols[0, :4], [100, 0, left, right])
    assert np.allclose(samples.rows[0], [50, 50, 50, 50, 0, 100])
    assert samples.weights.min() == 1


def test_the_axes_of_two_lenses_lie_in_their_circles():
    """The rear lens looks along -x and shows the camera's left, +y, on its right."""
    samples = TWO_LENSES.samples(np.float64(list(AXES.values())), 480, 960)
    quarter = 236 * 90 / 100
    assert np.allclose(samples.cols[0, [0, 2, 3, 4, 5]], [240, 240 - quarter, 240 + quarter, 240,
                                                          240])
    assert np.allclose(samples.rows[0, [0, 2, 3, 4, 5]], [240, 240, 240, 240 - quarter,
                                                          240 + quarter])
    assert np.allclose(samples.cols[1, 1:4], [720, 720 + quarter, 720 - quarter])
    assert np.allclose(samples.weights, [[1, 0, .5, .5, .5, .5], [0, 1, .5, .5, .5, .5]])


@pytest.mark.parametrize('rpy', [(0, 0, 0), (90, 0, 0), (3, -7, 170)])
def test_a_lens_gives_back_the_ray_that_it_projects(rpy):
    lens = Lens((251.5, 240.2), 236, 200, *rpy)
    rays = np.random.default_rng(0).normal(size=(500, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    col, row, angle = lens.project(rays)
    seen = angle <= np.deg2rad(100)
    assert 0.5 < seen.mean() < 0.7
    assert np.allclose(lens.rays(col, row)[seen], rays[seen], atol=1e-12)
    assert np.allclose(np.hypot(col - 251.5, row - 240.2)[~seen], 236)


# ---- the network's image ----

@pytest.mark.parametrize('height', [512, 480, 256, 1000])
@pytest.mark.parametrize('rpy', [(0, 0, 0), (0, 0, 70), (0, 0, 180), (180, 0, 0), (20, -15, 130)])
def test_a_turned_camera_gives_the_level_picture(height, rpy):
    """The poles and the seam as well: nowhere off by more than a level and a coarse row's step."""
    camera_from_map = rotation(*rpy)
    image = smooth(erp_rays(height, 2 * height) @ camera_from_map)     # of v_map
    got = Projection(ErpCamera(), image.shape[:2], (128, 256), camera_from_map).image(image)
    assert np.abs(got.astype(int) - pano(128)).max() <= 2


def test_mirrored_and_partial_images():
    camera = ErpCamera(Extent(-60, 45), mirrored=True)
    part = pano(480)[:, ::-1][120:400]
    projection = Projection(camera, part.shape[:2], (128, 256), rotation(10, 0, 25))
    image = projection.image(np.ascontiguousarray(part))
    rays = erp_rays(128, 256)
    seen_z = (rays @ rotation(10, 0, 25).T)[..., 2]
    assert (projection.seen == ((seen_z >= np.sin(np.deg2rad(-60)))
                                & (seen_z <= np.sin(np.deg2rad(45))))).all()
    expected = smooth(rays @ rotation(10, 0, 25).T)
    assert np.abs(image.astype(int) - expected)[projection.seen].max() <= 2


def test_without_a_turn_it_is_nearly_the_resize_of_a_panorama():
    """Noise that has been smoothed: bilinear after halving is within 3 levels of area means."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (960, 1920, 3), dtype=np.uint8), (0, 0), 4)
    for size_hw in ((256, 512), (512, 1024)):
        got = Projection(ErpCamera(), (960, 1920), size_hw).image(noise).astype(int)
        assert np.abs(got - resize_erp(noise, size_hw, 'area')).max() <= 3
    exact = Projection(ErpCamera(), (1024, 2048), (512, 1024)).image(pano(1024))
    assert (exact == resize_erp(pano(1024), (512, 1024), 'area')).all()
    part = np.ascontiguousarray(pano(1024)[256:768])
    projection = Projection(ErpCamera(Extent(-45, 45)), part.shape[:2], (512, 1024))
    padded = resize_erp(place(part, Extent(-45, 45)), (512, 1024), 'area')
    assert (projection.image(part) == padded)[projection.seen].all()


def test_the_seam_is_closed_between_the_last_and_the_first_column():
    """A column that is turned on to the seam is the mean of both ends of the image."""
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 0], image[:, -1] = 200, 100
    half_a_pixel = rotation(0, 0, 180 / 128)        # counter-clockwise: image moves to the right
    got = Projection(ErpCamera(), (64, 128), (64, 128), half_a_pixel).image(image)
    middle = got[20:44].astype(int)
    assert (middle[:, 0] == 150).all() or (middle[:, -1] == 150).all()
    assert sorted({int(v) for v in middle.ravel()}) in ([0, 50, 100, 150], [0, 50, 100, 150, 200])


@pytest.mark.parametrize('method', ['linear', 'cubic'])
def test_other_methods_look_up_in_the_image_as_it_is(method):
    got = Projection(ErpCamera(), (512, 1024), (128, 256), rotation(5, 5, 5), method).image(
        smooth(erp_rays(512, 1024) @ rotation(5, 5, 5)))
    assert np.abs(got.astype(int) - pano(128)).max() <= 2


@pytest.mark.parametrize('camera', [
    TWO_LENSES,
    FisheyeCamera((1440, 2880), (Lens((722, 715), 704, 196, roll_deg=90),
                                 Lens((2163, 721), 708, 194, roll_deg=-90, pitch_deg=2,
                                      yaw_deg=178)), blend_deg=8)])
@pytest.mark.parametrize('rpy', [(0, 0, 0), (12, -20, 77)])
def test_two_circles_become_one_panorama(camera, rpy):
    projection = Projection(camera, camera.size_hw, (128, 256), rotation(*rpy))
    assert projection.seen.all()
    got = projection.image(fisheye_image(camera))
    expected = smooth(erp_rays(128, 256) @ rotation(*rpy).T)
    assert np.abs(got.astype(int) - expected).max() <= 3


def test_the_blend_mixes_both_lenses_and_leaves_the_rest_alone():
    """A red and a blue lens: purple only within the band, half and half between the axes."""
    image = np.zeros((480, 960, 3), np.uint8)
    image[:, :480, 2], image[:, 480:, 0] = 255, 255
    projection = Projection(TWO_LENSES, (480, 960), (180, 360))
    got = projection.image(image)[90].astype(int)            # 1 degree to a column
    assert (got[90 + 3:270 - 3] == (0, 0, 255)).all()
    assert (np.roll(got, 180, 0)[90 + 3:270 - 3] == (255, 0, 0)).all()
    assert np.abs(got[89:91, [0, 2]].mean(0) - 127.5).max() <= 1.5
    assert (np.diff(got[85:95, 2]) >= 0).all()


def test_what_no_lens_sees_is_told():
    camera = FisheyeCamera((480, 960), (Lens((240, 240), 236, 160),
                                        Lens((720, 240), 236, 180, yaw_deg=180)))
    seen = Projection(camera, (480, 960), (180, 360)).seen
    angle = np.degrees(np.arccos(erp_rays(180, 360)[..., 0]))
    assert (seen == ((angle <= 80) | (angle >= 90))).all()


@pytest.mark.parametrize('extent', [Extent(-30, 60, -100, 80), Extent(-90, 90, -190, -20)])
def test_a_part_of_the_azimuth(extent):
    """GPano crops, also across the seam: what is seen is exact, and the rest is told."""
    full = np.roll(pano(360), 0, 1)
    rows = slice(round((90 - extent.elevation_max_deg) * 2),
                 round((90 - extent.elevation_min_deg) * 2))
    cols = np.arange(round((180 - extent.azimuth_max_deg) * 2),
                     round((180 - extent.azimuth_min_deg) * 2)) % 720
    projection = Projection(ErpCamera(extent), full[rows][:, cols].shape[:2], (90, 180))
    got = projection.image(np.ascontiguousarray(full[rows][:, cols]))
    assert (projection.seen == ~unseen(extent, (90, 180))).all()
    assert np.abs(got.astype(int) - pano(90))[projection.seen].max() <= 3


# ---- back to the camera ----

def test_ranges_come_back_along_their_rays():
    """A pattern in the map frame, looked up along the camera's rays, is the camera's pattern."""
    map_from_camera = rotation(25, -15, 60)
    index = look_up_index((256, 512), erp_rays(120, 240), map_from_camera)
    on_the_map = erp_rays(256, 512)[..., 0].reshape(-1)[index]
    assert np.abs(on_the_map - (erp_rays(120, 240) @ map_from_camera.T)[..., 0]).max() < 0.013


def test_a_look_up_without_a_turn_is_the_pixel_itself():
    index = look_up_index((64, 128), erp_rays(64, 128))
    assert (index.reshape(-1) == np.arange(64 * 128)).all()
    assert look_up_index((64, 128), np.float64([[0, 0, 1], [0, 0, -1], [-1, 0, 0]])).tolist() == [
        64, 63 * 128 + 64, 32 * 128]


# ---- what does not fit ----

@pytest.mark.parametrize('camera, size_hw, text', [
    (ErpCamera(), (300, 500), 'image is 500 x 300 px, not twice as wide as high .*; declare'),
    (ErpCamera(Extent(-45, 45)), (300, 640), r'elevation -45 to 45 deg of 640 columns are 160\.0'),
    (TWO_LENSES, (960, 1920), 'image is 1920 x 960 px, but the fisheye calibration is of 960 x '
                              '480 px; calibrate again')])
def test_an_image_that_does_not_fit_the_model_is_refused(camera, size_hw, text):
    with pytest.raises(ValueError, match=text):
        Projection(camera, size_hw, (64, 128))


def test_an_image_of_another_size_than_the_table_is_refused():
    with pytest.raises(ValueError, match='image is 128 x 64 px, the look-up table is for 256 x'):
        Projection(ErpCamera(), (128, 256), (64, 128)).image(pano(64))

"""Laws of the point cloud."""

import numpy as np
import pytest

from da_ros.points import PointProjector, sphere_uniform_index
from da_ros.range_map import RangeMap
from da_ros.sphere import angles_from_ray, erp_rays, rotation_from_rpy, solid_angles

H, W = 64, 128
INF, NAN = np.inf, np.nan


def as_map(range_m, image=None) -> RangeMap:
    range_m = np.broadcast_to(np.float32(range_m), (H, W)).copy()
    return RangeMap(range_m, 100.0, 0.3, np.zeros((H, W, 3), np.uint8) if image is None else image)


def test_points_lie_on_their_rays_at_their_range():
    range_m = np.random.default_rng(0).uniform(0.5, 50, (H, W))
    points = PointProjector((H, W)).project(as_map(range_m))
    wanted = (erp_rays(H, W) * range_m[..., None]).reshape(-1, 3)
    assert np.allclose(points, wanted, rtol=1e-5, atol=1e-5)


def test_only_finite_ranges_become_points():
    range_m = np.full((H, W), 2.0)
    range_m[0], range_m[1], range_m[2] = INF, -INF, NAN
    points = PointProjector((H, W)).project(as_map(range_m))
    assert points.shape == ((H - 3) * W, 3) and np.isfinite(points).all()
    assert np.allclose(np.linalg.norm(points, axis=1), 2)


def test_organised_cloud_keeps_the_image_order_with_nan():
    range_m = np.full((H, W), 2.0)
    range_m[0], range_m[1, 5] = INF, -INF
    points = PointProjector((H, W), 100, organised=True).project(as_map(range_m))
    points = points.reshape(H, W, 3)
    assert np.isnan(points[0]).all() and np.isnan(points[1, 5]).all()
    assert np.isfinite(points[1:]).all(axis=-1).sum() == (H - 1) * W - 1
    assert np.allclose(points[20, 30], 2 * erp_rays(H, W)[20, 30], atol=1e-6)


@pytest.mark.parametrize('budget', [10, 500, 3000, 8000, H * W - 1, H * W, 10**6])
def test_thinning_keeps_the_budget_and_repeats_no_pixel(budget):
    index = sphere_uniform_index((H, W), budget)
    assert len(index) <= budget and len(np.unique(index)) == len(index)
    assert index.min() >= 0 and index.max() < H * W
    assert len(index) >= min(budget, H * W) * 0.85 or budget < 100


@pytest.mark.parametrize('budget', [2000, 4000])
def test_thinning_is_uniform_on_the_sphere(budget):
    index = sphere_uniform_index((H, W), budget)
    row = index // W
    solid = solid_angles(H, W)[:, 0] * W
    for band in np.array_split(np.arange(H), 8):
        share = np.isin(row, band).mean()
        assert np.isclose(share, solid[band].sum() / (4 * np.pi), atol=0.02)
    octant = np.bincount(index % W // (W // 8), minlength=8) / len(index)
    assert np.allclose(octant, 1 / 8, atol=0.01)


def test_rotation_turns_the_cloud_and_nothing_else():
    turn = rotation_from_rpy(0.1, -0.2, 1.0)
    plain = PointProjector((H, W), 1000).project(as_map(3.0)).copy()
    turned = PointProjector((H, W), 1000, body_from_camera=turn).project(as_map(3.0))
    assert np.allclose(turned, plain @ turn.T, atol=1e-5)


@pytest.mark.parametrize('budget', [0, 777])
def test_colour_is_that_of_the_pixel_in_pcl_order(budget):
    image = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    range_m = np.full((H, W), 2.0)
    range_m[:, ::3] = NAN
    points = PointProjector((H, W), budget, rgb=True).project(as_map(range_m, image))
    azimuth, elevation = angles_from_ray(points[:, :3])
    col = np.round((0.5 - azimuth / (2 * np.pi)) * W - 0.5).astype(int)
    row = np.round((0.5 - elevation / np.pi) * H - 0.5).astype(int)
    packed = np.ascontiguousarray(points[:, 3]).view(np.uint32)
    blue, green, red = image[row, col].T.astype(np.uint32)
    assert (packed == red << 16 | green << 8 | blue).all()


def test_all_unknown_is_an_empty_cloud():
    assert PointProjector((H, W), 100).project(as_map(NAN)).shape == (0, 3)

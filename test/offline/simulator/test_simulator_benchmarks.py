# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The fixed evaluation sets and the two ray casters."""

from pathlib import Path

import numpy as np
import pytest

from da_ros.sphere import erp_rays

pytest.importorskip('open3d', reason='open3d cannot be imported (its wheel needs libusb-1.0)',
                    exc_type=ImportError)

from test_simulator import assets  # noqa: F401

from training import simulate
from training.data.shards import read_shard
from training.simulator import benchmarks
from training.simulator.casters import Open3DCaster
from training.simulator.generate import check_mix, MixConfig
from training.simulator.scene import make_caster
from training.simulator.shapes import box, ellipsoid, moved, rod
from training.simulator.textures import SimulatorError
from training.simulator.views import ViewConfig


def furnished(seed=0):
    """Triangles of a hundred turned boxes, a ball and a hundred slanted rods in a room."""
    rng = np.random.default_rng(seed)
    shapes = [moved(box(9, 9, 3)), moved(ellipsoid(0.5, 0.5, 0.5), 2, 2)]
    for _ in range(100):
        shapes.append(moved(box(*rng.uniform(0.1, 1, 3)), *rng.uniform(-4, 4, 2), 0,
                            rng.uniform(0, 6)))
        foot = rng.uniform(-4, 4, 2)
        shapes.append(rod((*foot, 0), (*(foot + rng.normal(0, 0.3, 2)), 1.2), 0.02))
    return np.concatenate([corners for corners, _ in shapes])


@pytest.fixture(scope='module')
def casters():
    """The same triangles in Embree and in Warp, added in two steps."""
    pytest.importorskip('warp', reason='NVIDIA Warp is not installed')
    from training.simulator.warp_caster import WarpCaster
    both = Open3DCaster(), WarpCaster('cpu')
    corners = furnished()
    for caster in both:
        caster.add(corners[:1000])
        caster.cast(np.zeros((1, 3)), np.array([[1.0, 0, 0]]))
        caster.add(corners[1000:])
    return both


def test_warp_and_embree_meet_the_same_triangles_at_the_same_range(casters):
    rays = erp_rays(128, 256).reshape(-1, 3)
    for origin in ((0, 0, 1.1), (2.0, -1.5, 0.3), (-3, 3, 1.9)):
        (range_a, triangle_a, bary_a), (range_b, triangle_b, bary_b) = (
            caster.cast(np.broadcast_to(origin, rays.shape), rays) for caster in casters)
        differ = ~np.isclose(range_a, range_b, rtol=1e-4)
        assert differ.mean() < 1e-3         # silhouettes and shared edges only
        same = triangle_a == triangle_b
        assert same.mean() > 0.995
        np.testing.assert_allclose(bary_a[same & ~differ], bary_b[same & ~differ], atol=2e-3)


def test_warp_and_embree_agree_on_shadows(casters):
    spans = erp_rays(64, 128).reshape(-1, 3) * 2.0
    origins = np.broadcast_to((0.0, 0.0, 1.1), spans.shape)
    first, second = (caster.occluded(origins, spans) for caster in casters)
    assert 0.05 < first.mean() < 0.95 and (first != second).mean() < 1e-3


def test_empty_casters_meet_nothing(casters):
    rays = np.array([[1.0, 0, 0]])
    for caster in (type(c)() if isinstance(c, Open3DCaster) else type(c)('cpu') for c in casters):
        range_m, triangle, _ = caster.cast(np.zeros((1, 3)), rays)
        assert np.isposinf(range_m[0]) and triangle[0] == -1
        assert not caster.occluded(np.zeros((1, 3)), rays)[0]


def test_unknown_and_absent_devices_are_one_line():
    with pytest.raises(SimulatorError, match='device tpu is not one of cpu, cuda, auto'):
        make_caster('tpu')
    warp_caster = pytest.importorskip(
        'training.simulator.warp_caster', exc_type=SimulatorError, reason='no Warp')
    if not warp_caster.has_cuda():
        with pytest.raises(SimulatorError, match='use --device cpu'):
            make_caster('cuda')
        assert isinstance(make_caster('auto'), Open3DCaster)


def test_benchmark_is_rendered_by_one_command_and_never_changes(
        assets, tmp_path, monkeypatch):     # noqa: F811
    small = ViewConfig(tilted=0.0)
    drone = ViewConfig(tilted=0.0, min_height_m=2.0, max_height_m=30.0, near_things=0.0,
                       marked=0.0)
    monkeypatch.setitem(benchmarks.BENCHMARKS, 'outdoor', tuple(
        benchmarks.Part(2, MixConfig(shares=(('outdoor', 1.0),), view=view))
        for view in (small, drone)))
    sets = []
    for name in ('a', 'b'):
        assert simulate.main(['--assets', str(assets), '--out', str(tmp_path / name),
                              '--benchmark', 'outdoor', '--size', '32x64']) == 0
        sets.append([s for i in (0, 1)
                     for s in read_shard(tmp_path / name / f'0000{i}.tar')])
    for first, second in zip(*sets, strict=True):
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.range_m, second.range_m, equal_nan=True)
        assert first.meta['environment'] == 'outdoor' and first.range_m.shape == (32, 64)
    assert all(2 <= s.camera_height_m <= 30 for s in sets[0][2:])
    for sample in sets[0]:      # level, above the ground
        assert sample.range_m[-1].mean() == pytest.approx(sample.camera_height_m, rel=0.02)


def test_benchmarks_share_no_seed_with_training():
    args = simulate.parse_args(['--assets', 'a', '--out', 'b', '--seed', str(benchmarks.SEED)])
    training = {np.random.default_rng(job.seed).integers(2 ** 62)
                for job in simulate.jobs_of(args)}
    fixed = {np.random.default_rng(benchmarks.seed_of(i)).integers(2 ** 62) for i in range(4)}
    assert len(fixed) == 4 and not training & fixed
    for parts in benchmarks.BENCHMARKS.values():
        assert all(check_mix(part.mix) and part.mix.view.tilted == 0 for part in parts)
    assert Path(simulate.jobs_of(args)[0].path).name == '00000.tar'

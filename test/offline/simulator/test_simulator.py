# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import json
from types import SimpleNamespace

import numpy as np
import pytest

from da_ros.sphere import erp_rays

pytest.importorskip('open3d', reason='open3d cannot be imported (its wheel needs libusb-1.0)',
                    exc_type=ImportError)
cv2 = pytest.importorskip('cv2')

from training import simulate  # noqa: E402
from training.data.shards import read_shard  # noqa: E402
from training.simulator.generate import MixConfig, Simulator  # noqa: E402
from training.simulator.library import box_uv  # noqa: E402
from training.simulator.marks import add_stripe_textures, LIFT_M, scatter_marks  # noqa: E402
from training.simulator.near import is_clear, NEAR, reach_of  # noqa: E402
from training.simulator.render import render, sky_radiance  # noqa: E402
from training.simulator.rooms import divide  # noqa: E402
from training.simulator.scene import Light, Material, Scene, Sky  # noqa: E402
from training.simulator.shapes import box, cylinder, ellipsoid, moved, quad  # noqa: E402
from training.simulator.textures import SimulatorError, TextureStore  # noqa: E402
from training.simulator.views import (  # noqa: E402
    random_camera,
    take_pictures,
    ViewConfig,
)

SIZE = (32, 64)


def make_scene(*shapes, material=None, **fields):
    scene = Scene(TextureStore(), **fields)
    for shape in shapes:
        scene.add(shape, material or Material(tint=(0.5, 0.5, 0.5)))
    return scene


def view(scene, position=(0, 0, 0), size=SIZE):
    return render(scene, position, size, np.random.default_rng(0))


@pytest.fixture(scope='module')
def assets(tmp_path_factory):
    """An asset folder with two textures, one held-out texture, and no object or world."""
    root = tmp_path_factory.mktemp('assets')
    for name in ('wall/a', 'floor/b', 'wall/aws_warehouse_c'):
        file = root / 'textures' / f'{name}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(name))
        cv2.imwrite(str(file), rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
    (root / 'scenes').mkdir()
    (root / 'scenes' / 'objects.json').write_text(json.dumps([]))
    return root


def test_range_inside_a_sphere_is_its_radius():
    ball = moved(ellipsoid(3.0, 3.0, 3.0), z=-3.0)
    _, range_m = view(make_scene(ball))
    # a polyhedron of 14 x 7 facets lies within the sphere and at least cos(pi / 14)^2 of it
    assert (range_m <= 3.0 + 1e-4).all() and (range_m > 3.0 * 0.92).all()


def test_range_is_measured_along_the_ray_to_a_wall():
    wall = quad((2.0, -50, -50), (0, 100, 0), (0, 0, 100))
    _, range_m = view(make_scene(wall))
    rays = erp_rays(*SIZE)
    hit = np.isfinite(range_m)
    assert hit[:, 16:48].mean() > 0.9 and not hit[:, :16].any() and not hit[:, 48:].any()
    np.testing.assert_allclose(range_m[hit], (2.0 / rays[..., 0])[hit], rtol=1e-5)


def test_an_empty_scene_is_empty_and_shows_the_sky():
    sky = Sky(zenith=(0, 0, 1), horizon=(0, 0, 1))
    image, range_m = view(make_scene(quad((100, 0, 0), (1, 0, 0), (0, 1, 0)), sky=sky))
    assert np.isposinf(range_m).all()
    np.testing.assert_allclose(image, np.broadcast_to([0, 0, 1], image.shape), atol=1e-6)


def test_a_box_stands_where_it_is_put():
    scene = make_scene(moved(box(1, 1, 2), x=0, y=3, z=-1))
    _, range_m = view(scene)
    assert range_m[16, 16] == pytest.approx(2.5, rel=0.01)    # left = +y
    assert np.isposinf(range_m[16, 48])


def test_triangles_added_later_are_seen_too():
    scene = make_scene(quad((5, -50, -50), (0, 100, 0), (0, 0, 100)))
    view(scene)
    scene.add(quad((2, -50, -50), (0, 100, 0), (0, 0, 100)), Material(tint=(1.0, 0.0, 0.0)))
    image, range_m = view(scene)
    assert range_m[16, 32] == pytest.approx(2.0, rel=0.01)
    assert image[16, 32, 0] > 0 and image[16, 32, 1] == 0


def test_a_lamp_lights_what_faces_it_and_things_cast_shadows():
    floor = quad((-20, -20, -1), (40, 0, 0), (0, 40, 0))
    lamp = Light((3.0, 0.0, 2.0), power=5.0)
    bright, _ = view(make_scene(floor, lights=[lamp], ambient=0.1, occlusion=False))
    roof = moved(box(2, 2, 0.1), x=3, y=0, z=1.0)
    dark, _ = view(make_scene(floor, roof, lights=[lamp], ambient=0.1, occlusion=False))
    row, col = 19, 32           # 18 degrees down, forward: the floor under the lamp
    assert bright[row, col, 0] > 3 * dark[row, col, 0]


def test_corners_are_darker_with_ambient_occlusion():
    room = moved(box(4, 4, 3), z=-1.5)
    lit, _ = view(make_scene(room, occlusion=True), size=(64, 128))
    rays, flat = erp_rays(64, 128), lit[..., 0]
    edge = np.abs(np.abs(rays[..., 0]) - np.abs(rays[..., 1])) < 0.05
    middle = np.abs(rays[..., 1]) < 0.1
    level = np.abs(rays[..., 2]) < 0.2
    assert flat[edge & level].mean() < 0.95 * flat[middle & level].mean()


def test_textures_repeat_and_blur_with_distance():
    store = TextureStore()
    checker = np.indices((64, 64)).sum(0) % 2 * 255
    index = store.add(np.repeat(checker[..., None], 3, -1).astype(np.uint8), 'test')
    uv = np.random.default_rng(0).uniform(-5, 5, (200, 2))
    texture = np.full(200, index)
    near = store.sample(texture, uv, np.full(200, -12.0))
    np.testing.assert_allclose(near, store.sample(texture, uv + 3, np.full(200, -12.0)), atol=1e-3)
    far = store.sample(texture, uv, np.zeros(200))
    assert near.std() > 0.1 and far.std() < 0.02
    assert far.mean() == pytest.approx(0.5, abs=0.02)


def test_sky_panorama_is_looked_up_in_the_direction_of_the_ray():
    image = np.zeros((8, 16, 3), np.uint8)
    image[:4, 4:6] = 255                # around azimuth +pi/2 (left)
    rays = np.array([[0.0, 0.97, 0.24], [0.0, -0.97, 0.24]])
    assert (sky_radiance(Sky(image), rays).mean(-1) > 0.5).tolist() == [True, False]


def test_rooms_tile_the_floor_plan():
    for seed in range(5):
        rooms = divide(np.random.default_rng(seed), (0, 0, 10, 8), 2.0)
        assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in rooms) == pytest.approx(80)
        assert all(min(x1 - x0, y1 - y0) >= 2 - 1e-9 for x0, y0, x1, y1 in rooms)


@pytest.mark.parametrize('maker', sorted(
    {m for _, makers in NEAR for m in makers}, key=lambda m: m.__name__))
def test_things_stand_on_the_floor_within_their_footprint(maker):
    for seed in range(4):
        thing = maker(np.random.default_rng(seed), TextureStore())
        corners = np.concatenate([s[0].reshape(-1, 3) for s, _ in thing.parts])
        assert -1e-4 <= corners[:, 2].min() < 0.5
        assert np.isfinite(corners).all()
        assert np.ptp(corners[:, :2], axis=0) == pytest.approx(thing.size, abs=1e-4)


def test_footprint_test_keeps_cameras_out_of_things():
    assert not is_clear((2.0, 1.0), 0.9, 0.0, 0.0)
    assert is_clear((2.0, 1.0), 0.0, 0.9, 0.0)
    assert not is_clear((2.0, 1.0), 0.0, 0.9, np.pi / 2)
    assert reach_of((2.0, 1.0), 0.0) == pytest.approx(1.0)
    assert reach_of((2.0, 1.0), np.pi / 2) == pytest.approx(0.5)


def test_texture_coordinates_are_metres():
    corners, uv = cylinder(0.5, 2.0, sides=64)
    side = np.ptp(corners[..., 2], axis=1) > 1
    lengths = np.linalg.norm(np.diff(corners[side], axis=1), axis=-1)
    told = np.linalg.norm(np.diff(uv[side], axis=1), axis=-1)
    np.testing.assert_allclose(told, lengths, rtol=0.01)
    assert np.ptp(box_uv(box(2, 3, 4)[0])[..., 0]) == pytest.approx(3, abs=1)


def test_samples_depend_on_the_seed_alone(assets):
    mix = MixConfig(shares=(('home', 1.0), ('hall', 1.0), ('outdoor', 1.0)),
                    view=ViewConfig(size_hw=SIZE))
    simulator = Simulator(assets, mix)
    first = list(simulator.samples((3, 1), 9))
    again = list(Simulator(assets, mix).samples((3, 1), 9))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.range_m, b.range_m, True)
    other = next(iter(simulator.samples((3, 2), 1)))
    assert not np.array_equal(first[0].image, other.image)
    heights = [s.camera_height_m for s in first]
    assert min(heights) >= 0.15 and max(heights) <= 2.0
    for sample in first:        # the floor lies at the told height, a small tilt allowed
        assert sample.range_m[-1].mean() == pytest.approx(sample.camera_height_m, rel=0.05)


def test_held_out_world_and_its_parts_never_enter(assets):
    simulator = Simulator(assets)
    assert len(simulator._store.names['wall']) == 1
    with pytest.raises(SimulatorError, match='held out'):
        Simulator(assets, MixConfig(shares=(('aws_small_warehouse', 1.0),)))
    with pytest.raises(SimulatorError, match='moon'):
        Simulator(assets, MixConfig(only='moon'))


def test_command_renders_resumes_and_draws_a_sheet(assets, tmp_path, capsys):
    out = tmp_path / 'shards'
    command = ['--assets', str(assets), '--out', str(out), '--seed', '2', '--count', '5',
               '--per-shard', '3', '--size', '32x64', '--near', '1',
               '--mix', 'home=1', 'outdoor=0.5']
    assert simulate.main(command) == 0
    assert 'images/s' in capsys.readouterr().out
    before = (out / '00000.tar').stat().st_mtime_ns, (out / '00001.tar').read_bytes()
    (out / '00001.tar').unlink()
    assert simulate.main(command) == 0
    assert 'kept' in capsys.readouterr().out
    assert (out / '00000.tar').stat().st_mtime_ns == before[0]
    for a, b in zip(read_shard(out / '00001.tar'), _reread(tmp_path, before[1]), strict=True):
        assert np.array_equal(a.range_m, b.range_m, True) and np.array_equal(a.image, b.image)
    assert simulate.main(['--sheet', str(out / '00000.tar'), str(tmp_path / 'sheet.png')]) == 0
    assert cv2.imread(str(tmp_path / 'sheet.png')) is not None


def _reread(folder, data):
    (folder / 'old.tar').write_bytes(data)
    return list(read_shard(folder / 'old.tar'))


def test_wrong_arguments_are_one_line(tmp_path, capsys):
    assert simulate.main(['--assets', str(tmp_path), '--out', str(tmp_path), '--size', '3']) == 1
    assert '--size 3' in capsys.readouterr().err
    assert simulate.main(['--assets', str(tmp_path), '--out', str(tmp_path), '--mix', 'a']) == 1
    assert '--mix a' in capsys.readouterr().err
    assert simulate.main([]) == 1
    assert '--assets' in capsys.readouterr().err


def test_outdoor_cameras_never_stand_under_a_low_slab():
    ground = quad((-20, -20, 0), (40, 0, 0), (0, 40, 0))
    slab = quad((-20, -20, 2.6), (40, 0, 0), (0, 40, 0))
    for indoor, found in ((True, True), (False, False)):
        scene = make_scene(ground, slab, indoor=indoor)
        scene.regions = [(-5.0, -5.0, 5.0, 5.0)]
        config = ViewConfig(min_height_m=1.5, max_height_m=2.0)
        camera = random_camera(np.random.default_rng(0), scene, config)
        assert (camera is not None) == found


def test_marks_lie_flat_on_the_floor_around_the_camera():
    store = TextureStore()
    add_stripe_textures(store)
    for seed in range(10):
        scene = Scene(store)
        scatter_marks(np.random.default_rng(seed), scene, np.array([3.0, 2.0, 1.5]), 0.5)
        corners = np.concatenate([c for c, _, _ in scene._new])
        assert (corners[..., 2] >= 1.0 + LIFT_M - 1e-5).all()
        assert (corners[..., 2] < 1.0 + 10 * LIFT_M).all()
        layers = [np.unique(c[..., 2]) for c, _, _ in scene._new]
        assert all(len(np.unique(layer.round(5))) == 1 for layer in layers)


def test_behind_a_pane_is_seen_what_stands_there_and_its_range_is_unknown():
    wall = quad((3, -50, -50), (0, 100, 0), (0, 0, 100))
    pane = quad((1, -0.5, -0.5), (0, 1, 0), (0, 0, 1))
    bare, _ = view(make_scene(wall))
    scene = make_scene(wall)
    scene.add(pane, Material(clear=True, tint=(0.5, 1.0, 1.0)))
    image, range_m = view(scene)
    assert np.isnan(range_m[16, 32]) and range_m[16, 45] == pytest.approx(view(make_scene(
        wall))[1][16, 45])
    np.testing.assert_allclose(image[16, 32], bare[16, 32] * [0.5, 1, 1], rtol=1e-3)


def test_a_mirror_shows_what_is_behind_the_camera_and_its_range_is_unknown():
    scene = make_scene(quad((2, -9, -9), (0, 18, 0), (0, 0, 18)),
                       material=Material(tint=(0, 0, 0), mirror=0.9))
    scene.add(quad((-3, -50, -50), (0, 100, 0), (0, 0, 100)), Material(tint=(1.0, 0.0, 0.0)))
    image, range_m = view(scene)
    assert np.isnan(range_m[16, 32]) and np.isfinite(range_m[16, 0])
    assert image[16, 32, 0] > 0.1 and image[16, 32, 1] == 0
    floor = make_scene(quad((2, -9, -9), (0, 18, 0), (0, 0, 18)), material=Material(mirror=0.2))
    assert np.isfinite(view(floor)[1][16, 32])      # polished, not a mirror


def test_panes_cast_no_shadow():
    floor = quad((-20, -20, -1), (40, 0, 0), (0, 40, 0))
    lamp = Light((3.0, 0.0, 2.0), power=5.0)
    bright, _ = view(make_scene(floor, lights=[lamp], ambient=0.1, occlusion=False))
    scene = make_scene(floor, lights=[lamp], ambient=0.1, occlusion=False)
    scene.add(moved(quad((-1, -1, 0), (2, 0, 0), (0, 2, 0)), x=3, z=1.0), Material(clear=True))
    np.testing.assert_allclose(view(scene)[0][19, 32], bright[19, 32], rtol=1e-4)


def test_views_with_glass_are_kept():
    scene = make_scene(moved(box(6, 6, 3)))
    scene.add(quad((1, -2, 0.2), (0, 4, 0), (0, 0, 2.5)), Material(clear=True))
    scene.regions = [(-2.0, -2.0, 0.5, 2.0)]
    config = ViewConfig(size_hw=SIZE, near_things=0, marked=0)
    library = SimpleNamespace(names=lambda *_: [])
    pictures = list(take_pictures(np.random.default_rng(1), scene, library, 3, config))
    assert len(pictures) == 3 and all(np.isnan(range_m).any() for _, range_m, _ in pictures)


def test_textures_added_after_the_first_lookup_are_found():
    store = TextureStore()
    rng = np.random.default_rng(0)
    for value in (10, 200, 90):
        index = store.add(np.full((4, 4, 3), value, np.uint8))
        found = store.sample(np.full(5, index), rng.uniform(size=(5, 2)), np.full(5, -9.0))
        np.testing.assert_allclose(found, value / 255, atol=1e-6)


def test_a_camera_with_headroom_is_not_under_a_table():
    floor, ceiling = quad((-9, -9, 0), (18, 0, 0), (0, 18, 0)), quad((-9, -9, 3), (18, 0, 0),
                                                                     (0, 18, 0))
    table = moved(quad((-4, -9, 0), (8, 0, 0), (0, 18, 0)), z=1.0)
    scene = make_scene(floor, ceiling, table)
    scene.regions = [(-6.0, -5.0, 6.0, 5.0)]
    low = dict(min_height_m=0.3, max_height_m=0.6)
    rng = np.random.default_rng(0)
    free, clear = (
        [random_camera(rng, scene, ViewConfig(**low, headroom_m=headroom))[0] for _ in range(12)]
        for headroom in (0.0, 1.8))
    assert min(abs(p[0]) for p in free) < 4 < min(abs(p[0]) for p in clear)

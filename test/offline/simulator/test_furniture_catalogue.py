# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Furniture libraries: metric, turned the right way, and never in a benchmark."""

import zipfile

import numpy as np
import pytest

pytest.importorskip('open3d', reason='open3d cannot be imported (its wheel needs libusb-1.0)',
                    exc_type=ImportError)

from training.simulator.enrich import Enricher, place_in
from training.simulator.furniture_catalogue import FurnitureCatalogue, PROPERTIES
from training.simulator.makers import low
from training.simulator.makers.things import Thing
from training.simulator.scene import Scene
from training.simulator.textures import SimulatorError, TextureStore

# a wedge: x right 0..2, y up 0..1, z to the front 0..4; its front (z = 4) is low
OBJ = """
v 0 0 0
v 2 0 0
v 0 1 0
v 2 1 0
v 0 0 4
v 2 0 4
f 1 2 4
f 1 4 3
f 3 4 6
f 3 6 5
"""
CATALOGUE = """
id#1=test#wedge
category#1=Living room
model#1=/models/wedge.obj
width#1=50
depth#1=80
height#1=120
elevation#1=30
dropOnTopElevation#1=110
doorOrWindow#1=false
id#2=test#door
category#2=Living room
model#2=/models/wedge.obj
width#2=50
depth#2=80
height#2=120
doorOrWindow#2=true
"""


@pytest.fixture
def catalogue(tmp_path):
    with zipfile.ZipFile(tmp_path / 'test.sh3f', 'w') as archive:
        archive.writestr(PROPERTIES, CATALOGUE)
        archive.writestr('models/wedge.obj', OBJ)
    return FurnitureCatalogue(tmp_path, TextureStore())


def test_a_model_has_the_size_of_its_catalogue_and_its_front_along_x(catalogue):
    entry, = catalogue.entries          # the door is left out
    assert entry.size == pytest.approx((0.8, 0.5, 1.2))
    assert (entry.elevation_m, entry.top_m) == pytest.approx((0.3, 1.1))
    rng = np.random.default_rng(1)
    things = [catalogue.thing(rng, entry) for _ in range(20)]
    sizes = np.array([np.ptp(np.concatenate([s[0].reshape(-1, 3) for s, _ in t.parts]), axis=0)
                      for t in things])
    assert (np.abs(sizes / entry.size - 1) < 0.13).all()
    corners = things[0].parts[0][0][0].reshape(-1, 3)
    assert corners[corners[:, 0] > 0.1][:, 2].max() < 0.05      # the low side looks to +x
    assert corners[:, 2].min() == pytest.approx(0, abs=1e-5)


def test_a_file_that_is_no_library_is_one_line(tmp_path):
    (tmp_path / 'bad.sh3f').write_bytes(b'no zip')
    with pytest.raises(SimulatorError, match='sweethome3d-furniture'):
        FurnitureCatalogue(tmp_path, TextureStore())


def test_an_absent_folder_is_an_empty_catalogue_and_rooms_are_furnished_all_the_same(tmp_path):
    store = TextureStore()
    enricher = Enricher(FurnitureCatalogue(tmp_path / 'none', store))
    scene = Scene(store, regions=[(0, 0, 6, 5)])
    enricher.furnish(np.random.default_rng(0), scene)
    assert scene.materials


def test_what_stands_at_a_wall_has_its_back_to_it():
    thing, rng = Thing([], (0.4, 1.0)), np.random.default_rng(0)
    for _ in range(40):
        x, y, yaw = place_in(rng, (0, 0, 6, 5), thing, at_wall=True)
        back = np.array([x, y]) - 0.2 * np.array([np.cos(yaw), np.sin(yaw)])
        gaps = (back[0], back[1], 6 - back[0], 5 - back[1])
        assert min(gaps) == pytest.approx(0.03, abs=1e-6)


def test_low_things_stand_on_the_floor_and_are_what_their_name_says():
    store, rng = TextureStore(), np.random.default_rng(0)
    heights = {}
    for maker in {*low.LOW}:
        tops = []
        for _ in range(30):
            corners = np.concatenate([s[0].reshape(-1, 3) for s, _ in maker(rng, store).parts])
            assert corners[:, 2].min() == pytest.approx(0, abs=0.02)
            tops.append(corners[:, 2].max())
        heights[maker.__name__] = (min(tops), max(tops))
    assert heights['low_bench'][1] < 0.6 and heights['balustrade'][1] < 1.7
    assert heights['platform'][0] > 0.08

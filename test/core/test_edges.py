# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the flying-pixel filter: surfaces and thin things stay, smeared edges go."""

import numpy as np
import pytest

from da_ros.derived.edges import EdgeFilter
from da_ros.sphere import erp_rays

H, W = 128, 256
GRAZING_DEG = 5.0
INF, NAN = np.inf, np.nan


def flying(range_m):
    range_m = np.broadcast_to(np.asarray(range_m, np.float32), (H, W)).copy()
    return EdgeFilter((H, W), GRAZING_DEG).find(range_m).flying()


def plane(normal, distance):
    towards = erp_rays(H, W) @ (np.asarray(normal, float) / np.linalg.norm(normal))
    grazing = np.arcsin(np.clip(towards, -1, 1))
    with np.errstate(divide='ignore'):
        return np.where(towards > 0, distance / towards, INF), np.rad2deg(grazing)


def test_a_sphere_and_an_empty_or_unknown_panorama_have_no_edge():
    for value in (3.0, INF, NAN, -INF):
        assert not flying(value).any()


@pytest.mark.parametrize('normal', [(1, 0, 0), (-1, 0, 0), (0, 0, -1), (0, 0, 1), (1, 1, 0.3),
                                    (0.2, -1, -2)])
def test_no_plane_is_dropped_where_it_is_seen_at_more_than_the_grazing_angle(normal):
    range_m, grazing_deg = plane(normal, 1.0)
    clear = grazing_deg > GRAZING_DEG + 2 * 180 / H       # the neighbour may be flatter by a pixel
    assert not (flying(range_m) & clear).any()


@pytest.mark.parametrize('shift', [0, 77, W - 40])       # the last one lies across the seam
def test_a_clean_edge_loses_nothing_and_a_smeared_one_its_middle(shift):
    sharp = np.full((H, W), 5.0)
    sharp[40:90, :64] = 2.0
    assert not flying(np.roll(sharp, shift, axis=1)).any()
    smeared = sharp.copy()
    smeared[40:90, 64:66] = 2.7, 3.6
    smeared[40:90, W - 1] = 3.0
    wanted = np.zeros((H, W), bool)
    wanted[40:90, 64:66] = wanted[40:90, W - 1] = True
    got = flying(np.roll(smeared, shift, axis=1))
    assert (got[41:89] == np.roll(wanted, shift, axis=1)[41:89]).all()
    assert not got[:, np.roll(np.arange(W), shift)[:64]].any()           # of the near side, none


def test_edges_between_rows_and_before_the_empty_sky_are_found_as_well():
    roof = np.full((H, W), INF)
    roof[64:] = 4.0
    roof[63] = 30.0
    got = flying(roof)
    assert got[63].all() and got.sum() == W


@pytest.mark.parametrize('width', [1, 2, 3])
def test_a_thin_leg_keeps_every_pixel_even_with_smeared_sides(width):
    leg = np.full((H, W), 6.0)
    leg[50:100, 100:100 + width] = 2.0
    assert not flying(leg).any()
    leg[50:100, 99] = leg[50:100, 100 + width] = 3.5
    got = flying(leg)
    assert not got[:, 100:100 + width].any() and got[51:99, 99].all()


def test_both_sides_of_an_edge_are_steps():
    sharp = np.full((H, W), 5.0, np.float32)
    sharp[:, :64] = 2.0
    got = EdgeFilter((H, W), GRAZING_DEG).find(sharp).steps()
    assert sorted(np.flatnonzero(got.all(axis=0))) == [0, 63, 64, W - 1] and got.sum() == 4 * H

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Obstacle distances as MAVROS converts them and PX4 reads them, replayed in float32."""

import numpy as np
import pytest

from da_ros.derived.obstacle_distance import BEAMS, centimetres, ObstacleDistance
from da_ros.scan import Scan

UNKNOWN = 65535
F = np.float32


def scan_of(ranges, beams=720, limit_m=20.0):
    ranges = np.broadcast_to(np.float32(ranges), beams).copy()
    step = 2 * np.pi / beams
    return Scan(ranges, -np.pi + step / 2, step, 0.3, limit_m)


def with_object(left_deg, range_m=3.0, **layout):
    """Return a scan that is empty but for one beam [deg to the left of ahead]."""
    scan = scan_of(np.inf, **layout)
    beam = int((np.deg2rad(left_deg) + np.pi) / scan.angle_increment) % len(scan.ranges)
    scan.ranges[beam] = range_m
    return scan


def mavros(beams: Scan) -> dict:
    """Convert as MAVROS does: float32 metres times a double, cut to uint16; degrees in float32."""
    cm = F(beams.ranges.astype(np.float64) * 1e2)
    unknown = np.isnan(cm) | (cm >= UNKNOWN) | (cm < 0)
    increment_deg = F(float(F(beams.angle_increment)) * (180 / np.pi))
    return {'distances': np.where(unknown, UNKNOWN, np.where(unknown, 0, cm).astype(np.uint16)),
            'increment': int(F(increment_deg + F(0.5))), 'increment_f': increment_deg,
            'angle_offset': F(float(F(beams.angle_min)) * (180 / np.pi)),
            'min_distance': int(float(F(beams.range_min)) * 1e2),
            'max_distance': int(float(F(beams.range_max)) * 1e2)}


def wrap_360(angle):
    return F(np.mod(F(angle), F(360)))


def px4_ceil(msg, bins):
    """One beam per bin, by ceil; the older rule. Return the bins and the indices it read."""
    factor, size = F(1) / msg['increment_f'], 360 // bins
    index = np.array([int(np.ceil(F(wrap_360(F(k * size) - msg['angle_offset']) * factor)))
                      for k in range(bins)])
    assert index.max() < BEAMS                     # PX4 does not check
    return msg['distances'][index], index


def px4_overlap(msg, bins=72):
    """Centred bins that take every overlapping beam, as far as `enterData` lets them."""
    half_bin, inc = F(360 / bins / 2), msg['increment_f']
    out = np.full(bins, UNKNOWN)
    for i in range(bins):
        low, high = wrap_360(F(i * 360 / bins) - half_bin), wrap_360(F(i * 360 / bins) + half_bin)
        low = low - F(360) if low > high else low
        for j in range(int(min(np.ceil(F(360) / inc), BEAMS))):
            m_low = wrap_360(F(F(j) * inc + msg['angle_offset']) - inc / F(2))
            m_high = wrap_360(F(F(j) * inc + msg['angle_offset']) + inc / F(2))
            m_low = m_low - F(360) if m_low > m_high else m_low
            overlaps = (low < m_low < high or low < m_high < high
                        or (m_low <= low and m_high >= high) or (m_low >= low and m_high <= high))
            if overlaps and msg['distances'][j] != UNKNOWN:
                held, new, most = out[i], msg['distances'][j], msg['max_distance']
                if new < most or held >= most:            # one sensor: near always enters
                    out[i] = new
    return out


def right_deg(left_deg):
    return (-left_deg) % 360


@pytest.mark.parametrize('left_deg', range(360))
def test_an_object_at_any_degree_is_in_the_bin_that_px4_looks_up(left_deg):
    msg = mavros(ObstacleDistance(720).project(with_object(left_deg)))
    assert msg['increment'] == 5 and msg['angle_offset'] == 0 and msg['min_distance'] in (29, 30)
    heading = right_deg(left_deg)
    wide, index = px4_ceil(msg, 36)
    assert (index == 2 * np.arange(36)).all()              # the beam at the bin's own angle
    assert (wide == 300).any()
    nearest = int(np.floor(heading / 10 + 0.5)) % 36       # bins read at their own angle
    assert wide[nearest] == 300 or wide[(nearest - 1) % 36] == 300
    fine, index = px4_ceil(msg, 72)
    assert (fine == 300).any() and (index == np.arange(72)).all()
    overlap = px4_overlap(msg) if left_deg % 15 == 0 else None
    if overlap is not None:
        assert overlap[int(np.floor(heading / 5 + 0.5)) % 72] == 300
    off = np.abs((np.flatnonzero(wide == 300) * 10 - heading + 180) % 360 - 180)
    assert off.max() <= 5.6                                # never a bin that does not touch it


@pytest.mark.parametrize('left_deg, beam', [(0, 0), (90, 54), (180, 36), (-90, 18), (45, 63)])
def test_left_is_left(left_deg, beam):
    got = ObstacleDistance(720).project(with_object(left_deg + 0.1))
    hit = np.flatnonzero(got.ranges < 20)
    assert beam in hit and len(hit) <= 3 and got.angle_increment > 0 and got.angle_min == 0


@pytest.mark.parametrize('beams', [36, 72, 100, 360, 720, 1024])
def test_every_beam_looks_five_degrees_to_either_side(beams):
    convert = ObstacleDistance(beams)
    for left_deg in np.arange(0, 360, 1.0):
        got = convert.project(with_object(left_deg, beams=beams))
        off = np.abs((np.arange(BEAMS) * 5 - right_deg(left_deg) + 180) % 360 - 180)
        assert (got.ranges[off <= 5 - 1e-6] == 3).all()
        assert (got.ranges[off > 5 + 360 / beams + 1e-6] > 20).all()
        even = got.ranges[::2]
        assert (even == 3).any()                           # a reader of every second beam sees it


@pytest.mark.parametrize('limit_m', [40.0, 5.0, 10.0, 50.0, 100.0, 7.77, 12.345, 0.57, 999.0])
def test_empty_is_one_centimetre_beyond_the_maximum_in_float32(limit_m):
    msg = mavros(ObstacleDistance(720).project(scan_of(np.inf, limit_m=limit_m)))
    assert msg['max_distance'] in (int(min(limit_m, 650) * 100), int(min(limit_m, 650) * 100) - 1)
    assert set(msg['distances'].tolist()) <= {msg['max_distance'] + 1, msg['max_distance'] + 2}
    assert (centimetres(ObstacleDistance(720).project(scan_of(np.inf, limit_m=limit_m)))
            == msg['distances']).all()
    for read in (px4_ceil(msg, 36)[0], px4_overlap(msg)):
        assert (read > msg['max_distance']).all() and (read < UNKNOWN).all()


def test_too_near_is_the_nearest_and_unknown_is_unknown():
    scan = scan_of(np.inf)
    scan.ranges[360], scan.ranges[8], scan.ranges[180] = -np.inf, np.nan, np.float32(0.3)
    beams = ObstacleDistance(720).project(scan)
    assert beams.ranges[0] == np.float32(0.3) and np.nanmin(beams.ranges) == np.float32(0.3)
    assert np.isnan(beams.ranges[36])                      # behind: seen in part only
    assert mavros(beams)['distances'][36] == UNKNOWN and (
        mavros(beams)['distances'] >= mavros(beams)['min_distance']).all()
    scan.ranges[8:10] = np.nan, 2.0                       # an obstacle beside the unknown
    assert ObstacleDistance(720).project(scan).ranges[36] == 2.0
    assert np.isnan(ObstacleDistance(720).project(scan_of(np.nan)).ranges).all()


def test_an_obstacle_beyond_what_uint16_holds_is_empty_not_unknown():
    beams = ObstacleDistance(720).project(scan_of(700.0, limit_m=999.0))
    assert beams.range_max == 650 and (mavros(beams)['distances'] == 65001).all()


def test_mavlink_packs_and_unpacks_it():
    mavlink = pytest.importorskip('pymavlink.dialects.v20.common',
                                  reason='pymavlink is not installed')
    msg = mavros(ObstacleDistance(720).project(with_object(90.0)))
    link = mavlink.MAVLink(None)
    sent = mavlink.MAVLink_obstacle_distance_message(
        1_000_000, mavlink.MAV_DISTANCE_SENSOR_LASER, msg['distances'].tolist(), msg['increment'],
        msg['min_distance'], msg['max_distance'], float(msg['increment_f']),
        float(msg['angle_offset']), mavlink.MAV_FRAME_BODY_FRD)
    got = mavlink.MAVLink(None).parse_buffer(sent.pack(link))[0]
    assert got.distances == msg['distances'].tolist() and got.distances[54] == 300
    assert (got.increment, got.frame, got.max_distance) == (5, 12, 2000)

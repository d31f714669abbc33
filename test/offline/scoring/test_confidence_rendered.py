# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The shipped network on rendered panoramas: what it is sure of is nearer to the truth."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('open3d', reason='open3d cannot be imported (its wheel needs libusb-1.0)',
                    exc_type=ImportError)

from da_ros.config import RangeRule
from da_ros.derived.confidence import confidence
from da_ros.derived.edges import EdgeFilter
from da_ros.derived.floor import FloorTracker
from da_ros.estimator import RangeEstimator
from da_ros.range_map import resample_nearest
from da_ros.sphere import solid_angles
from training.simulator.generate import MixConfig, Simulator
from training.simulator.views import ViewConfig

SIZE = (128, 256)
PER_VIEW = 2000


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    """Views of rooms, halls and streets, textured at random."""
    assets = tmp_path_factory.mktemp('assets')
    rng = np.random.default_rng(0)
    for name in ('wall/a', 'wall/b', 'floor/c', 'floor/d', 'facade/e', 'furniture/f'):
        file = assets / 'textures' / f'{name}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(60, 220, (8, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(file), cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC))
    (assets / 'scenes').mkdir()
    (assets / 'scenes/objects.json').write_text(json.dumps([]))
    mix = MixConfig(shares=(('home', 0.4), ('hall', 0.3), ('outdoor', 0.3)), views_per_scene=2,
                    view=ViewConfig(tilted=0.0, size_hw=SIZE))
    return list(Simulator(assets, mix).samples((2026, 3), 32))


@pytest.fixture(scope='module')
def pairs(rendered):
    """Confidence and true error |log(range / truth)| of pixels even on the sphere."""
    estimator = RangeEstimator('pano_tiny', 'onnxruntime')
    edges, rng = EdgeFilter(estimator.bundle.size_hw, 5.0), np.random.default_rng(0)
    sure, error = [], []
    for sample in rendered:
        estimator.rule = RangeRule(camera_height_m=sample.camera_height_m)
        range_map = estimator.predict(np.ascontiguousarray(sample.image[..., ::-1]))
        range_m = range_map.range_m
        floor = FloorTracker().update(range_m, sample.camera_height_m)
        got = confidence(range_map, edges.find(range_m).steps(), floor, sample.camera_height_m)
        truth = resample_nearest(sample.range_m, *range_m.shape)
        known = np.flatnonzero((np.isfinite(truth) & np.isfinite(range_m)).reshape(-1))
        weight = solid_angles(*range_m.shape).reshape(-1)[known]
        chosen = rng.choice(known, PER_VIEW, p=weight / weight.sum())
        sure.append(got.reshape(-1)[chosen])
        error.append(np.abs(np.log(range_m.reshape(-1)[chosen] / truth.reshape(-1)[chosen])))
    return np.concatenate(sure).astype(float), np.concatenate(error)


def test_the_error_falls_from_group_to_group_of_the_confidence(pairs):
    sure, error = pairs
    order = np.argsort(sure + np.random.default_rng(0).uniform(0, 0.5, len(sure)))
    groups = [float(np.mean(error[group])) for group in np.array_split(order, 4)]
    assert groups == sorted(groups, reverse=True) and groups[-1] < groups[0] / 2


def test_the_risk_falls_with_the_share_of_pixels_that_is_left_out(pairs):
    sure, error = pairs
    order = np.argsort(-(sure + np.random.default_rng(0).uniform(0, 0.5, len(sure))))
    risk = np.cumsum(error[order]) / np.arange(1, len(order) + 1)
    at = [risk[int(len(order) * share) - 1] for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert at == sorted(at) and at[0] < 0.6 * at[-1]

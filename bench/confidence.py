# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
How far the confidence tells good pixels from bad ones: risk against coverage on rendered views.

    python -m training.simulate --assets ASSETS --out shards/obstacles --benchmark obstacles
    python -m bench.confidence shards/obstacles shards/outdoor --out curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from da_ros.config import RangeRule
from da_ros.derived.confidence import confidence
from da_ros.derived.edges import EdgeFilter
from da_ros.derived.floor import FloorTracker
from da_ros.estimator import RangeEstimator
from da_ros.range_map import resample_nearest
from da_ros.sphere import solid_angles
from training.data.shards import read_shard

PER_VIEW = 1500
COVERAGE = np.linspace(0.02, 1, 50)


def main() -> None:
    """Print a table and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split('\n')[0])
    parser.add_argument('shards', nargs='+', type=Path, help='folders of training.simulate')
    parser.add_argument('--bundle', default='pano_tiny')
    parser.add_argument('--out', type=Path, help='picture')
    given = parser.parse_args()
    estimator = RangeEstimator(given.bundle)
    curves = {(folder.name, told): risks(estimator, folder, told)
              for folder in given.shards for told in (True, False)}
    print('| views | height told | 20 % surest | 40 % | 60 % | 80 % | all |\n' + '|---' * 7 + '|')
    for (name, told), curve in curves.items():
        at = np.interp((0.2, 0.4, 0.6, 0.8, 1.0), COVERAGE, curve)
        print(f'| {name} | {"yes" if told else "no"} | ' + ' | '.join(f'{r:.3f}' for r in at)
              + ' |')
    if given.out:
        draw(curves, given.out)


def risks(estimator: RangeEstimator, folder: Path, told: bool) -> np.ndarray:
    """Return the mean |log(range / truth)| of the surest shares COVERAGE of the pixels."""
    size = estimator.bundle.size_hw
    edges, rng, sure, error = EdgeFilter(size, 5.0), np.random.default_rng(0), [], []
    for shard in sorted(folder.glob('*.tar')):
        for sample in read_shard(shard):
            height_m = sample.camera_height_m if told else 0.0
            estimator.rule = RangeRule(camera_height_m=height_m)
            range_map = estimator.predict(np.ascontiguousarray(sample.image[..., ::-1]))
            floor = FloorTracker().update(range_map.range_m, height_m)
            got = confidence(range_map, edges.find(range_map.range_m).steps(), floor, height_m)
            truth = resample_nearest(sample.range_m, *size)
            known = np.flatnonzero(
                (np.isfinite(truth) & np.isfinite(range_map.range_m)).reshape(-1))
            weight = solid_angles(*size).reshape(-1)[known]
            chosen = rng.choice(known, PER_VIEW, p=weight / weight.sum())
            sure.append(got.reshape(-1)[chosen] + rng.uniform(0, 0.5, PER_VIEW))
            error.append(np.abs(np.log(range_map.range_m.reshape(-1)[chosen]
                                       / truth.reshape(-1)[chosen])))
    ordered = np.concatenate(error)[np.argsort(-np.concatenate(sure))]
    count = np.arange(1, len(ordered) + 1)
    return np.interp(COVERAGE, count / len(ordered), np.cumsum(ordered) / count)


def draw(curves: dict[tuple[str, bool], np.ndarray], path: Path) -> None:
    """Draw the curves."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout='constrained')
    colours = dict(zip(dict.fromkeys(name for name, _ in curves), plt.cm.tab10.colors))
    for (name, told), curve in curves.items():
        axes.plot(COVERAGE, curve, '-' if told else '--', color=colours[name],
                  label=f'{name}, height {"told" if told else "not told"}')
    axes.set(xlabel='share of the pixels that is kept, surest first',
             ylabel='mean |log(range / truth)|', xlim=(0, 1), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    main()

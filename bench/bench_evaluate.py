# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What an evaluation costs beside the estimator, its memory, and a LiDAR projection.

    python -m bench.bench_evaluate                # overhead and projection
    python -m bench.bench_evaluate --memory       # peak memory for 1 GB and 4 GB (5 GB of disk)

Wall time and CPU time of this process: on a machine that others use, the CPU time is the one to
trust.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path
import resource
import statistics
import sys
import tempfile
import time

import numpy as np

from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
from da_ros.estimator import RangeEstimator
from training.demo_bag import DriveConfig, write_drive
from training.scoring.bags.evaluation import BagEvaluation
from training.scoring.bags.truth import body_from_frame, TruthSource
from training.scoring.projection import project_points, remove_hidden


def main() -> int:
    """Run the benchmarks and print one line per number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--memory', action='store_true')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.memory:
            memory(Path(folder))
        else:
            projection()
            overhead(Path(folder))
    return 0


def projection() -> None:
    """Time 131,072 points into 256 x 512 px."""
    rng = np.random.default_rng(0)
    rays = rng.normal(size=(131072, 3))
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    points = (rays * rng.uniform(1, 30, (131072, 1))).astype(np.float32)
    for name, work in (('projection', lambda: project_points(points, 256, 512)),
                       ('projection and occlusion',
                        lambda: remove_hidden(project_points(points, 256, 512)))):
        print(f'{name} of 131072 points: {median_ms(work)} (limit 10)')


def overhead(folder: Path) -> None:
    """Time a frame of the evaluation and the estimator's part of it."""
    write_drive(folder / 'bag', DriveConfig(seconds=4.0, height=256, compressed=False))
    estimator = RangeEstimator(None, 'onnxruntime', 1)
    infer, spent = estimator.infer, np.zeros(2)

    def timed_infer(image, seen):
        started = clocks()
        range_map = infer(image, seen)
        spent[:] += clocks() - started
        return range_map

    estimator.infer = timed_infer                      # type: ignore[assignment]
    with BagReader(folder / 'bag') as bag:
        evaluation = evaluation_of(bag, estimator)
        started = clocks()
        evaluation.run(bag, '/camera/image', ['/lidar/points'])
        total = clocks() - started
    frames = len(evaluation.tables.rows)
    wall, cpu = 1000 * (total - spent) / frames
    print(f'evaluation beside inference: {cpu:.1f} ms CPU, {wall:.1f} ms wall per frame (limit '
          f'25); inference {1000 * spent[0] / frames:.1f} ms wall; {frames} frames, reading the '
          'bag included')


def clocks() -> np.ndarray:
    """Return wall and CPU time [s]."""
    return np.array([time.perf_counter(), time.process_time()])


def memory(folder: Path) -> None:
    """Print the peak memory of evaluating a 1 GB and a 4 GB bag, each in a fresh process."""
    peaks = []
    for frames in (180, 720):
        path = folder / f'bag{frames}'
        write_large(path, frames)
        size = sum(f.stat().st_size for f in path.rglob('*')) / 1e9
        context = multiprocessing.get_context('spawn')
        queue = context.Queue()
        process = context.Process(target=peak_of, args=(str(path), str(folder), queue))
        process.start()
        peaks.append(queue.get(timeout=3600))
        process.join()
        print(f'{size:.1f} GB: peak {peaks[-1]:.0f} MB (limit 1000)', flush=True)
    print(f'ratio {peaks[1] / peaks[0]:.3f} (limit 1.10)')


def write_large(path: Path, frames: int) -> None:
    """Write raw 960 x 1920 panoramas at 30 Hz with a cloud at 10 Hz."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (960, 1920, 3), np.uint8)
    cloud = rng.normal(0, 3, (30000, 3)).astype(np.float32)
    with BagWriter(path) as bag:
        for frame in range(frames):
            stamp = 10**15 + frame * 10**9 // 30
            bag.write('/camera/image', bag.image(stamp, 'camera', np.roll(image, frame, 1),
                                                 'bgr8'), stamp)
            if frame % 3 == 0:
                bag.write('/lidar/points', bag.points(stamp, 'camera', cloud), stamp)


def peak_of(path: str, out: str, queue) -> None:
    """Put the peak memory [MB] of an evaluation into a queue."""
    with BagReader(path) as bag:
        evaluation = evaluation_of(bag, RangeEstimator(None, 'onnxruntime', 1))
        evaluation.run(bag, '/camera/image', ['/lidar/points'])
    scale = 1024 if sys.platform != 'darwin' else 1024 * 1024
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)


def evaluation_of(bag: BagReader, estimator: RangeEstimator) -> BagEvaluation:
    """Return an evaluation against the LiDAR of a bag."""
    tree = bag.transforms()
    truth = TruthSource('/lidar/points', bag.kinds['/lidar/points'], tree,
                        estimator.bundle.size_hw, body_from_frame('optical'))
    return BagEvaluation(estimator, tree, truth, 'optical')


def median_ms(work) -> str:
    """Return the median CPU and wall time of 30 calls after two unmeasured ones, as text."""
    times = []
    for _ in range(32):
        started = clocks()
        work()
        times.append(1000 * (clocks() - started))
    wall, cpu = (statistics.median(column) for column in zip(*times[2:]))
    return f'{cpu:.1f} ms CPU, {wall:.1f} ms wall'


if __name__ == '__main__':
    sys.exit(main())

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The frames of a bag through the node's estimator, each against the truth beside it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.bags.bag import BagReader, Message, SCAN
from da_ros.bags.storage import BagError
from da_ros.bags.transforms import NoPoseError, TransformTree
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.memory.scale_track import ScaleTrack
from da_ros.memory.stages import Remembered
from da_ros.pixels import picture_of
from da_ros.range_map import RangeMap
from da_ros.stamps import stamp_ns
from training.scoring.bags.checks import flicker, OffsetScan
from training.scoring.bags.remembered import BagMemory
from training.scoring.bags.tables import BagTables
from training.scoring.bags.truth import body_from_frame, TruthSource
from training.scoring.protocols import get_protocol
from training.scoring.scores import FrameScores, score_frame

WAIT_NS = 700_000_000       # a frame waits this long (in bag time) for truth stamped after it
Row = dict[str, Any]
Served = Callable[[Message, Row, RangeMap | None, NDArray[np.float32] | None], None]


@dataclass(frozen=True, eq=False)
class _Past:
    """What the flicker needs of the frame before."""

    stamp_ns: int
    pred: NDArray[np.float32]
    target: NDArray[np.float32]


class BagEvaluation:
    """Frames of one bag through the estimator, against the truth beside them."""

    def __init__(self, estimator: RangeEstimator, tree: TransformTree,
                 truth: TruthSource | None, axes: str, stamp_offset_s: float = 0.0,
                 mounting_height_m: float = 0.0):
        """
        Prepare empty tables.

        :param tree: frames of the bag
        :param axes: axes of the camera's frame_id, optical or body
        :param stamp_offset_s: added to the camera's stamps [s], as in the node
        :param mounting_height_m: camera above the floor for the obstacle metrics [m]; 0 = the
            height that the network is told
        """
        self.estimator, self.tree, self.truth = estimator, tree, truth
        self.rotation = body_from_frame(axes)
        self.offset_ns = round(stamp_offset_s * 1e9)
        self.protocol = get_protocol('sphere')
        self.height_m = mounting_height_m or estimator.rule.camera_height_m
        self.tables = BagTables(self.height_m)
        self.images = 0                          # of the bag, used or not
        self.stamps_ns: list[int] = []           # of those that can be read
        self.refused: Counter[str] = Counter()   # reason -> images
        self.unusable: Counter[str] = Counter()  # reason -> truth messages
        self.warnings: set[str] = set()          # about the images, from their readers
        self.scan = OffsetScan()
        self.memory: BagMemory | None = None     # then scores are of what scan and clouds show
        self.remembered: Remembered | None = None    # of the last frame
        self.moves = False                       # whether TF tells a motion of the camera
        self.nearest_truth_s = float('inf')      # of any frame, to tell clocks that differ
        self._past: _Past | None = None

    def run(self, bag: BagReader, image_topic: str, truth_topics: Sequence[str],
            served: Served = lambda *_: None, every: int = 1, most: int = 2**62) -> str:
        """
        Score the images of a bag in the order of recording.

        :param truth_topics: topics handed to the truth source
        :param served: called after each image with its message, row, range map and truth
        :param every: use every n-th image
        :param most: end after so many
        :return: '' or why it ended early; what was done until then is kept
        """
        total = min(-(-bag.counts[image_topic] // every), most)
        sample_every = max(1, total // self.scan.frames) * every
        self.estimator.track = ScaleTrack()      # not that of another run, as of a rehearsal
        waiting: deque[tuple[int, Message, NDArray[np.float64] | None]] = deque()
        number, done, ended = -1, 0, ''
        self.tables.total = max(bag.counts[image_topic], 1)
        # None: a bar on a terminal alone; a rehearsal shows none.
        hidden = True if most < bag.counts[image_topic] else None
        with tqdm(total=total, unit='frame', disable=hidden) as progress:
            def serve() -> None:
                index, message, pose = waiting.popleft()
                served(message, *self.frame(index, message, index % sample_every == 0, pose))
                progress.update()

            odometry = self.memory.topic if self.memory else ''
            stream = bag.messages([image_topic, *truth_topics, *([odometry] if odometry else [])])
            while done + len(waiting) < most:
                try:
                    message = next(stream, None)
                except BagError as error:
                    ended = str(error)
                    break
                if message is None:
                    break
                if message.topic == image_topic:
                    number += 1
                    # The stream is judged as it was recorded, not as `every` thins it.
                    time_ns = self._note_stamp(message)
                    if number % every == 0:
                        # Now, because the node knows only what came before the image.
                        pose = self.memory.odom_from_body(time_ns + self.offset_ns) \
                            if self.memory else None
                        waiting.append((number, message, pose))
                elif message.topic == odometry and self.memory:
                    self.memory.observe(message)
                else:
                    self._observe(message)
                # Truth is often stamped, and mostly recorded, after the image it belongs to.
                while waiting and (self.truth is None
                                   or message.log_ns > waiting[0][1].log_ns + WAIT_NS):
                    serve()
                    done += 1
            while waiting:
                serve()
        return ended

    def _note_stamp(self, message: Message) -> int:
        self.images += 1
        try:
            self.stamps_ns.append(stamp_ns(message.decode()))
        except BagError:
            return 0                 # told as a refused image
        return self.stamps_ns[-1]

    def _observe(self, message: Message) -> None:
        """Take in truth; a message that cannot be used is counted and costs only itself."""
        assert self.truth is not None
        try:
            self.truth.observe(message)
        except BagError as error:
            self.unusable[str(error)] += 1

    def frame(self, number: int, message: Message, sample: bool = False,
              odom_from_body: NDArray[np.float64] | None = None
              ) -> tuple[Row, RangeMap | None, NDArray[np.float32] | None]:
        """
        Score one image message.

        :param sample: keep the frame for the scan of stamp offsets
        :param odom_from_body: (4, 4) for memory
        :return: its row of COLUMNS, its range map, its truth; a frame that cannot be used has the
            reason under `error`
        :raises TransformError: if the truth's frame is not connected with the camera's
        """
        row: Row = {'frame': number}
        try:
            msg = message.decode()
            stamp, camera = stamp_ns(msg), msg.header.frame_id.lstrip('/')
            row |= {'stamp_s': stamp / 1e9, 'late_ms': (message.log_ns - stamp) / 1e6}
            picture = picture_of(msg)
            net_image = self.estimator.network_image(picture.image)
            self.warnings |= {*picture.warnings, *self.estimator.oddities(picture.image)}
            started = time.perf_counter()
            range_map = self.estimator.infer(net_image, picture.extent)
        except (DaRosError, ValueError) as error:
            self.refused[str(error)] += 1
            return row | {'error': str(error)}, None, None
        row['infer_ms'] = 1000 * (time.perf_counter() - started)
        stamp += self.offset_ns
        row['unknown_share'] = float(np.isnan(range_map.range_m).mean())
        shown = range_map
        if self.memory is not None:
            self.remembered = self.memory.take(range_map, stamp, odom_from_body)
            shown = self.remembered.range_map
        # Nearer than the least range is an obstacle at that range: dropped, it would be a miss.
        pred = np.where(np.isneginf(shown.range_m), shown.min_range_m, shown.range_m)
        target, dt_ms, problem = self._target(camera, stamp)
        row |= {'truth_dt_ms': dt_ms, 'truth_share': float(np.isfinite(target).mean()),
                'error': problem}
        row |= self._score(row, pred, target, net_image)
        self.tables.add_mask(~np.isposinf(shown.range_m), target, shown.limit_m)
        row['flicker'] = self._flicker(camera, stamp, pred, target)
        if self.truth is not None and sample:
            self.scan.add(stamp, camera, pred, self.truth)
        self.tables.add_row(row)
        return row, range_map, target

    def _target(self, camera: str, stamp: int) -> tuple[NDArray[np.float32], float, str]:
        unknown = np.full(self.estimator.bundle.size_hw, np.nan, np.float32)
        seen = self.truth.nearest(stamp) if self.truth else None
        if self.truth is not None:
            self.nearest_truth_s = min(self.nearest_truth_s, self.truth.distance_s(stamp))
        if self.truth is None or seen is None:
            return unknown, float('nan'), 'no truth near this stamp' if self.truth else ''
        dt_ms = (seen.stamp_ns - stamp) / 1e6
        try:
            return self.truth.range_map(seen, camera, stamp), dt_ms, ''
        except NoPoseError as error:
            return unknown, dt_ms, str(error)

    def _score(self, row: Row, pred: NDArray, target: NDArray,
               image: NDArray[np.uint8]) -> dict[str, float]:
        name = str(row['frame'])
        scores = score_frame(name, ('all',), pred, target, self.protocol,
                             camera_height_m=self.height_m)
        aligned = score_frame(name, ('all',), pred, target,
                              replace(self.protocol, align='median'), outlines=False)
        self.tables.add(scores, aligned, pred, target, image, row['stamp_s'])
        metrics = scores.metrics
        by_column = self.truth is not None and self.truth.kind == SCAN
        return {key: metrics[key] for key in ('abs_rel', 'rmse_m', 'mae_m', 'delta_1')} | {
            'scale_ratio': scores.true_scale, 'abs_rel_aligned': aligned.metrics['abs_rel'],
            'fit_m': fit_m(pred, target, by_column), **_nearest(scores)}

    def _flicker(self, camera: str, stamp: int, pred: NDArray, target: NDArray) -> float:
        past, self._past = self._past, _Past(stamp, pred, target)
        self.moves |= self.tree.is_moving(camera)
        if past is None or not self.moves or not 0 < stamp - past.stamp_ns < 10**9:
            return float('nan')
        try:
            motion = self.tree.between(camera, stamp, camera, past.stamp_ns)
        except NoPoseError:
            return float('nan')
        motion[:3] = self.rotation @ motion[:3]
        motion[:3, :3] = motion[:3, :3] @ self.rotation.T
        return flicker(past.pred, pred, motion, past.target, target)


def fit_m(pred: NDArray, target: NDArray, by_column: bool) -> float:
    """
    Return the median distance of prediction and truth [m]; no sensor comes near a millimetre.

    :param by_column: compare with the best of a column and its neighbours: a scan of the node is
        the nearest of its height band, so each beam repeats one of them
    """
    rows, cols = np.nonzero(np.isfinite(target))
    if not by_column:
        difference = np.abs(pred[rows, cols] - target[rows, cols])
    else:
        height, width = pred.shape
        planar = pred * np.sin(np.pi * (np.arange(height) + 0.5) / height)[:, None]
        near = [np.abs(planar[:, (cols + side) % width] - target[rows, cols])
                for side in (-1, 0, 1)]
        difference = np.where(np.isfinite(near), near, np.inf).min(axis=(0, 1)) \
            if len(cols) else np.zeros(0)
    known = difference[np.isfinite(difference)]
    return float(np.median(known)) if len(known) else float('nan')


def _nearest(scores: FrameScores) -> dict[str, float]:
    if not scores.sectors.size:
        return {}
    seen = scores.sectors[scores.sectors['observed']]
    return {'nearest_true_m': float(seen['true_m'].min(initial=np.inf)),
            'nearest_pred_m': float(seen['pred_m'].min(initial=np.inf))}

"""
Measure a bundle on a recorded drive.

    da_ros_evaluate_bag demo_output/demo_bag --out report
    da_ros_evaluate_bag drive.mcap --image /camera/image --truth /lidar/points --out report

Reads ROS 1 and ROS 2 bags without a ROS installation and runs the estimator of the node on every
frame, with its thresholds. Truth: a depth image (panorama of ranges, or pinhole z-depth with
CameraInfo), a LiDAR cloud or a laser scan, brought into the camera by TF. Without truth it
measures consistency and latency. Writes frames.csv (line by line), report.json, report.md,
report.html, and with --write-bag a bag of predictions beside the truth for RViz or Foxglove.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence
import csv
from dataclasses import dataclass, replace
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.bag import (
    BagError,
    BagReader,
    CAMERA_INFO,
    COMPRESSED,
    header_ns,
    IMAGE,
    Message,
    panorama_of,
)
from da_ros.bundle import load_bundle
from da_ros.commands.foreground import open_in_foreground
from da_ros.config import RangeRule, ScaleConfig
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.range_map import RangeMap
from da_ros.sphere import rotation_from_rpy
from da_ros.transforms import NoPoseError, TransformTree
from training.bag_checks import flicker, OffsetScan
from training.bag_report import BagTables, write_bag_report
from training.bag_truth import body_from_frame, TRUTH_KINDS, TruthSource
from training.protocols import get_protocol
from training.scores import FrameScores, score_frame

WAIT_NS = 700_000_000       # a frame waits this long (in bag time) for truth stamped after it
COLUMNS = ('frame', 'stamp_s', 'late_ms', 'infer_ms', 'truth_dt_ms', 'truth_share', 'scale_ratio',
           'abs_rel', 'rmse_m', 'mae_m', 'delta_1', 'abs_rel_aligned', 'nearest_true_m',
           'nearest_pred_m', 'flicker', 'unknown_share', 'error')


@dataclass(frozen=True, eq=False)
class _Past:
    """What the flicker needs of the frame before."""

    stamp_ns: int
    world_from_body: NDArray[np.float64]
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
        self.scan = OffsetScan()
        self.sample_every = 1
        self._past: _Past | None = None

    def frame(self, number: int, message: Message) -> tuple[dict[str, Any], RangeMap | None,
                                                            NDArray[np.float32] | None]:
        """
        Score one image message.

        :return: its row of COLUMNS, its range map, its truth; a frame that cannot be used has the
            reason under `error`
        :raises TransformError: if the truth's frame is not connected with the camera's
        """
        msg = message.decode()
        stamp_ns = header_ns(msg)
        camera = msg.header.frame_id.lstrip('/')
        row: dict[str, Any] = {'frame': number, 'stamp_s': stamp_ns / 1e9,
                               'late_ms': (message.log_ns - stamp_ns) / 1e6}
        self.tables.stamps_ns.append(stamp_ns)
        stamp_ns += self.offset_ns
        try:
            net_image = self.estimator.network_image(panorama_of(msg))
            started = time.perf_counter()
            range_map = self.estimator.infer(net_image)
        except (DaRosError, ValueError) as error:
            return row | {'error': str(error)}, None, None
        row['infer_ms'] = 1000 * (time.perf_counter() - started)
        row['unknown_share'] = float(np.isnan(range_map.range_m).mean())
        pred = np.where(np.isneginf(range_map.range_m), range_map.min_range_m, range_map.range_m)
        target, dt_ms, problem = self._target(camera, stamp_ns)
        row |= {'truth_dt_ms': dt_ms, 'truth_share': float(np.isfinite(target).mean()),
                'error': problem}
        row |= self._score(str(number), pred, target, net_image)
        self.tables.add_mask(~np.isposinf(range_map.range_m), target, range_map.limit_m)
        row['flicker'] = self._flicker(camera, stamp_ns, pred, target)
        if self.truth is not None and number % self.sample_every == 0:
            self.scan.add(stamp_ns, camera, pred, self.truth)
        self.tables.add_row(row)
        return row, range_map, target

    def _target(self, camera: str, stamp_ns: int) -> tuple[NDArray[np.float32], float, str]:
        unknown = np.full(self.estimator.bundle.size_hw, np.nan, np.float32)
        seen = self.truth.nearest(stamp_ns) if self.truth else None
        if self.truth is None or seen is None:
            return unknown, float('nan'), 'no truth near this stamp' if self.truth else ''
        dt_ms = (seen.stamp_ns - stamp_ns) / 1e6
        try:
            return self.truth.range_map(seen, camera, stamp_ns), dt_ms, ''
        except NoPoseError as error:
            return unknown, dt_ms, str(error)

    def _score(self, name: str, pred: NDArray, target: NDArray,
               image: NDArray[np.uint8]) -> dict[str, float]:
        scores = score_frame(name, ('all',), pred, target, self.protocol,
                             camera_height_m=self.height_m)
        aligned = score_frame(name, ('all',), pred, target,
                              replace(self.protocol, align='median'), outlines=False)
        self.tables.add(scores, aligned, pred, target, image)
        metrics = scores.metrics
        return {key: metrics[key] for key in ('abs_rel', 'rmse_m', 'mae_m', 'delta_1')} | {
            'scale_ratio': scores.true_scale, 'abs_rel_aligned': aligned.metrics['abs_rel'],
            **_nearest(scores)}

    def _flicker(self, camera: str, stamp_ns: int, pred: NDArray, target: NDArray) -> float:
        past, self._past = self._past, None
        try:
            world_from_body = self.tree.root_from(camera, stamp_ns)
        except NoPoseError:
            return float('nan')
        if not self.tree.is_moving(camera):
            return float('nan')
        world_from_body[:3, :3] = world_from_body[:3, :3] @ self.rotation.T
        self._past = _Past(stamp_ns, world_from_body, pred, target)
        if past is None or not 0 < stamp_ns - past.stamp_ns < 10**9:
            return float('nan')
        motion = np.linalg.inv(world_from_body) @ past.world_from_body
        return flicker(past.pred, pred, motion, past.target, target)


def evaluate_bag(bag: BagReader, evaluation: BagEvaluation, image_topic: str,
                 truth_topics: Sequence[str], out: Path, every: int = 1,
                 writer: Any = None) -> str:
    """
    Run over a bag; frames.csv grows line by line.

    :param truth_topics: topics handed to the truth source
    :param every: use every n-th frame
    :param writer: a `bag_output.OutputBag` or None
    :return: '' or why it ended early; what was done until then is kept
    """
    waiting: deque[tuple[int, Message]] = deque()
    truth = evaluation.truth
    total = -(-bag.counts[image_topic] // every)
    evaluation.sample_every = max(1, total // evaluation.scan.frames) * every
    number = -1
    with (out / 'frames.csv').open('w', buffering=1, newline='') as stream:
        table = csv.DictWriter(stream, COLUMNS, restval='', extrasaction='ignore')
        table.writeheader()
        progress = tqdm(total=total, unit='frame', disable=None)

        def serve() -> None:
            index, message = waiting.popleft()
            row, range_map, target = evaluation.frame(index, message)
            table.writerow({key: _plain(value) for key, value in row.items()})
            if writer is not None and range_map is not None:
                writer.write(message, range_map, target)
            progress.update()

        try:
            for message in bag.messages([image_topic, *truth_topics]):
                if message.topic == image_topic:
                    number += 1
                    if number % every == 0:
                        waiting.append((number, message))
                elif truth is not None:
                    truth.observe(message)
                while waiting and (truth is None
                                   or message.log_ns > waiting[0][1].log_ns + WAIT_NS):
                    serve()
            while waiting:
                serve()
        except BagError as error:
            while waiting:
                serve()
            return str(error)
        finally:
            progress.close()
    return ''


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _arguments(argv)
    try:
        return _run(args)
    except (DaRosError, OSError, ValueError) as error:
        print(f'da_ros_evaluate_bag: {error}', file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    with BagReader(args.bag) as bag:
        image_topic = bag.find_topic(args.image, (IMAGE, COMPRESSED), 'panorama image') \
            if args.image else _only_image(bag)
        truth_topic = _truth_topic(bag, args.truth, image_topic)
        tree = bag.transforms()
        estimator = _estimator(args)
        truth, topics = _truth(bag, args, truth_topic, tree, estimator)
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        evaluation = BagEvaluation(estimator, tree, truth, args.image_axes, args.stamp_offset,
                                   args.mounting_height)
        writer = None
        if args.write_bag:
            from training.bag_output import OutputBag
            writer = OutputBag(args.write_bag, bag, image_topic)
        try:
            ended = evaluate_bag(bag, evaluation, image_topic, topics, out, args.every, writer)
        finally:
            if writer is not None:
                writer.close()
        return write_bag_report(out, evaluation, bag, image_topic, truth_topic, ended)


def _estimator(args: argparse.Namespace) -> RangeEstimator:
    """Return the node's estimator; a scale-invariant bundle without a scale keeps its units."""
    bundle = load_bundle(args.bundle or None)
    unitless = bundle.kind != 'metric' and args.scale_source == 'none'
    rule = RangeRule(
        range_mask_m=args.range_mask, min_range_m=0.0 if unitless else args.min_range,
        max_range_m=args.max_range, camera_height_m=args.camera_height)
    estimator = open_in_foreground(lambda given_up: RangeEstimator(
        bundle, args.backend, args.threads, rule, given_up=given_up))
    estimator.scale = ScaleConfig(args.scale_source, args.metres_per_unit)
    if unitless:
        print(f'bundle {bundle.name!r} is scale-invariant and no --scale-source is given: only '
              'the median-aligned table is in metres', file=sys.stderr)
    else:
        estimator.check_metric(estimator.scale, args.camera_height)
    return estimator


def _only_image(bag: BagReader) -> str:
    """Return the image topic that is not depth; several or none is an error that lists all."""
    topics = [topic for topic, kind in bag.kinds.items()
              if kind in (IMAGE, COMPRESSED) and 'depth' not in topic and bag.counts[topic]]
    return bag.find_topic(topics[0] if len(topics) == 1 else '', (IMAGE, COMPRESSED),
                          'panorama image (--image)')


def _truth_topic(bag: BagReader, name: str, image_topic: str) -> str:
    """Return the topic of the truth: the named one, else a cloud, a depth image, a scan, or ''."""
    if name == 'none':
        return ''
    if name:
        return bag.find_topic(name, TRUTH_KINDS, 'truth')
    for kind in TRUTH_KINDS:
        for topic in sorted(bag.kinds):
            depth = kind not in (IMAGE, COMPRESSED) or 'depth' in topic
            if bag.kinds[topic] == kind and bag.counts[topic] and depth and topic != image_topic:
                return topic
    return ''


def _truth(bag: BagReader, args: argparse.Namespace, topic: str, tree: TransformTree,
           estimator: RangeEstimator) -> tuple[TruthSource | None, list[str]]:
    if not topic:
        return None, []
    pose = None
    if args.extrinsic:
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_rpy(*args.extrinsic[3:])
        pose[:3, 3] = args.extrinsic[:3]
    source = TruthSource(topic, bag.kinds[topic], tree, estimator.bundle.size_hw,
                         body_from_frame(args.image_axes), args.tolerance, pose)
    info = args.truth_info or topic.rsplit('/', 1)[0] + '/camera_info'
    return source, [topic, info] if bag.kinds.get(info) == CAMERA_INFO else [topic]


def _nearest(scores: FrameScores) -> dict[str, float]:
    if not scores.sectors.size:
        return {}
    seen = scores.sectors[scores.sectors['observed']]
    return {'nearest_true_m': float(seen['true_m'].min(initial=np.inf)),
            'nearest_pred_m': float(seen['pred_m'].min(initial=np.inf))}


def _plain(value: Any) -> Any:
    return f'{value:.6g}' if isinstance(value, float) and abs(value) < 1e6 else value


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='da_ros_evaluate_bag', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    rule = RangeRule()
    add = parser.add_argument
    add('bag', help='ROS 1 .bag, ROS 2 folder, .mcap or .db3')
    add('--out', required=True, metavar='FOLDER', help='folder for the report')
    add('--bundle', default='', help='bundle folder or name; default: pano_tiny')
    add('--image', default='', metavar='TOPIC', help='panoramas; default: the only image topic')
    add('--truth', default='', metavar='TOPIC',
        help="truth; default: a cloud, else a depth image, else a scan; 'none' for none")
    add('--truth-info', default='', metavar='TOPIC', help='CameraInfo of a pinhole depth image')
    add('--extrinsic', nargs=6, type=float, metavar=('X', 'Y', 'Z', 'ROLL', 'PITCH', 'YAW'),
        help="pose of the truth sensor in the camera's body frame (x forward) [m, rad], "
             'instead of TF')
    add('--image-axes', default='optical', choices=['optical', 'body'],
        help="axes of the camera's frame_id, as frames.image_axes of the node")
    add('--every', type=int, default=1, metavar='N', help='use every n-th frame')
    add('--stamp-offset', type=float, default=0.0, metavar='S', help='as stamp_offset_s')
    add('--tolerance', type=float, default=0.06, metavar='S',
        help='largest time between a frame and its truth [s]')
    add('--camera-height', type=float, default=rule.camera_height_m, metavar='M',
        help='camera above the floor, told to the network as camera_height_m; 0 = unknown')
    add('--mounting-height', type=float, default=0.0, metavar='M',
        help='the same for the obstacle metrics only; default: --camera-height')
    add('--range-mask', type=float, default=rule.range_mask_m, metavar='M', help='as range_mask_m')
    add('--min-range', type=float, default=rule.min_range_m, metavar='M', help='as min_range_m')
    add('--max-range', type=float, default=rule.max_range_m, metavar='M', help='as max_range_m')
    add('--scale-source', default='none', choices=['none', 'camera_height', 'fixed'],
        help='as scale.source: metres of a scale-invariant bundle')
    add('--metres-per-unit', type=float, default=1.0, metavar='M', help='as in scale.*')
    add('--backend', default='auto', help='inference runtime, as in the node')
    add('--threads', type=int, default=0, help='threads of the runtime, as in the node')
    add('--write-bag', default='', metavar='FOLDER',
        help='also write a new bag (mcap) with predictions and truth')
    args = parser.parse_args(argv)
    if args.every < 1:
        parser.error(f'--every {args.every} must be at least 1')
    return args


if __name__ == '__main__':
    sys.exit(main())

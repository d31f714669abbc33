# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Measure a bundle on a recorded drive.

    da_ros_evaluate_bag demo_output/demo_bag --truth /lidar/points --out report
    da_ros_evaluate_bag drive.mcap --image /camera/image --truth /lidar/points --out report

Reads ROS 1 and ROS 2 bags without a ROS installation and runs the estimator of the node on every
frame, with its thresholds. Truth: a depth image (panorama of ranges, or pinhole z-depth with
CameraInfo), a LiDAR cloud or a laser scan, brought into the camera by TF. Without truth it
measures consistency and latency. Writes frames.csv (line by line), report.json, report.md,
report.html, and with --write-bag a bag of predictions beside the truth for RViz or Foxglove.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import csv
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
import platform
import shlex
import sys
from typing import Any

import numpy as np

import da_ros
from da_ros.bags.bag import BagReader, CAMERA_INFO, Message, ODOMETRY
from da_ros.bags.topics import find_image, SENSORS
from da_ros.bags.transforms import TransformTree
from da_ros.body_mask import BodyMask, read_picture
from da_ros.bundle import load_bundle, MANIFEST, sha256_of
from da_ros.cameras.rig import Rig
from da_ros.commands.foreground import open_in_foreground
from da_ros.config import (
    Config,
    height_band,
    MemoryConfig,
    MountingConfig,
    RangeRule,
    ScaleConfig,
    ScanConfig,
)
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.scale import check_scale
from da_ros.sphere import rotation_from_rpy
from training.data.commit import current_commit
from training.scoring.bags.choice import choose_truth
from training.scoring.bags.evaluation import BagEvaluation
from training.scoring.bags.remembered import BagMemory
from training.scoring.bags.report import write_bag_report
from training.scoring.bags.truth import body_from_frame, LEAST_RANGE_M, TruthSource

COLUMNS = ('frame', 'stamp_s', 'late_ms', 'infer_ms', 'truth_dt_ms', 'truth_share', 'scale_ratio',
           'abs_rel', 'rmse_m', 'mae_m', 'delta_1', 'abs_rel_aligned', 'fit_m', 'nearest_true_m',
           'nearest_pred_m', 'flicker', 'unknown_share', 'error')
PACKAGES = ('numpy', 'opencv-python-headless', 'onnxruntime', 'openvino', 'tensorrt', 'rosbags')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _arguments(argv)
    args.command = shlex.join(['da_ros_evaluate_bag', *(sys.argv[1:] if argv is None else argv)])
    try:
        return _run(args)
    except (DaRosError, OSError, ValueError) as error:
        print(f'da_ros_evaluate_bag: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('da_ros_evaluate_bag: interrupted; frames.csv holds what was done', file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    with BagReader(args.bag) as bag:
        image_topic = find_image(bag, args.image)
        if args.truth not in ('', 'none'):
            bag.find_topic(args.truth, SENSORS, 'truth')
        tree = bag.transforms()
        estimator = _estimator(args)
        topic, notes = ('', []) if args.truth == 'none' else (args.truth, [])
        if not args.truth:
            topic, notes = choose_truth(bag, image_topic, lambda name: _evaluation(
                bag, args, name, tree, estimator))
        evaluation, topics = _evaluation(bag, args, topic, tree, estimator)
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        ended = _evaluate(bag, args, evaluation, image_topic, topics, out)
        if evaluation.memory is not None:
            notes = [*notes, *evaluation.memory.notes()]
        return write_bag_report(out, evaluation, bag, image_topic, topic, ended,
                                _made(args, estimator), notes)


def _evaluate(bag: BagReader, args: argparse.Namespace, evaluation: BagEvaluation,
              image_topic: str, truth_topics: Sequence[str], out: Path) -> str:
    """Run over the bag; frames.csv grows line by line, so that a crash loses nothing done."""
    writer = None
    config = _config(args, evaluation.estimator)
    if args.memory:
        topic = bag.find_topic(args.odometry, (ODOMETRY,), 'odometry (--odometry)')
        evaluation.memory = BagMemory(topic, config)
    if args.write_bag:
        from training.scoring.bags.output import OutputBag
        writer = OutputBag(args.write_bag, bag, image_topic, args.image_axes)
    try:
        with (out / 'frames.csv').open('w', buffering=1, newline='') as stream:
            table = csv.DictWriter(stream, COLUMNS, restval='', extrasaction='ignore')
            table.writeheader()

            def served(message: Message, row: dict[str, Any], range_map: Any, target: Any) -> None:
                table.writerow({key: _plain(value) for key, value in row.items()})
                if writer is not None and range_map is not None:
                    writer.write(message, range_map, target, config, evaluation.remembered)

            return evaluation.run(bag, image_topic, truth_topics, served, args.every)
    finally:
        if writer is not None:
            writer.close()


def _evaluation(bag: BagReader, args: argparse.Namespace, truth_topic: str, tree: TransformTree,
                estimator: RangeEstimator) -> tuple[BagEvaluation, list[str]]:
    """Return an evaluation against a topic, and the topics that it reads beside the images."""
    truth, topics = None, []
    if truth_topic:
        pose = None
        if args.extrinsic:
            pose = np.eye(4)
            pose[:3, :3] = rotation_from_rpy(*args.extrinsic[3:])
            pose[:3, 3] = args.extrinsic[:3]
        truth = TruthSource(
            truth_topic, bag.kinds[truth_topic], tree, estimator.bundle.size_hw,
            body_from_frame(args.image_axes), args.tolerance, pose, args.truth_min_range)
        info = args.truth_info or truth_topic.rsplit('/', 1)[0] + '/camera_info'
        topics = [truth_topic, info] if bag.kinds.get(info) == CAMERA_INFO else [truth_topic]
    return BagEvaluation(estimator, tree, truth, args.image_axes, args.stamp_offset,
                         args.mounting_height), topics


def _estimator(args: argparse.Namespace) -> RangeEstimator:
    """Return the node's estimator; a scale-invariant bundle without a scale keeps its units."""
    bundle = load_bundle(args.bundle or None)
    unitless = bundle.kind != 'metric' and args.scale_source == 'none'
    rule = RangeRule(
        range_mask_m=args.range_mask, min_range_m=0.0 if unitless else args.min_range,
        max_range_m=args.max_range, camera_height_m=args.camera_height)
    estimator = open_in_foreground(lambda given_up: RangeEstimator(
        bundle, args.backend, args.threads, rule, tuple(args.elevation), given_up))
    estimator.scale = ScaleConfig(args.scale_source, args.metres_per_unit, args.scale_track)
    if args.body_mask:
        camera = estimator.rig.camera
        estimator.rig = Rig(camera, mask=BodyMask(read_picture(args.body_mask, camera)))
    if unitless:
        print(f'bundle {bundle.name!r} is scale-invariant and no --scale-source is given: only '
              'the median-aligned table is in metres', file=sys.stderr)
    else:
        check_scale(bundle.kind, bundle.name, estimator.scale, args.camera_height)
    return estimator


def _config(args: argparse.Namespace, estimator: RangeEstimator) -> Config:
    """Return the node's configuration of scan, cloud and memory."""
    return Config(
        rule=estimator.rule, scan=ScanConfig(720, *height_band(estimator.rule.camera_height_m)),
        mounting=MountingConfig(args.base_from_camera),
        memory=MemoryConfig('odometry' if args.memory else 'none', near_s=args.memory_near))


def _made(args: argparse.Namespace, estimator: RangeEstimator) -> dict[str, str]:
    """Return what somebody needs to get the same report again."""
    bundle, packages = estimator.bundle, []
    for name in PACKAGES:
        try:
            packages.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            pass
    return {
        'command': args.command, 'date': datetime.now().astimezone().isoformat(timespec='seconds'),
        'da_ros': f'{da_ros.__version__}, commit {current_commit()}',
        'bundle': f'{bundle.name} ({bundle.folder}), {MANIFEST} sha256 '
                  f'{sha256_of(bundle.folder / MANIFEST)}',
        'runtime': f'{estimator.backend}; Python {platform.python_version()}, '
                   f'{", ".join(packages)}; {platform.machine()}'}


def _plain(value: Any) -> Any:
    return f'{value:.6g}' if isinstance(value, float) and abs(value) < 1e6 else value


def _add_memory(add: Callable[..., Any]) -> None:
    add('--memory', action='store_true',
        help='score what memory between frames shows in scan and clouds, as with memory.source '
             'odometry')
    add('--odometry', default='', metavar='TOPIC',
        help='nav_msgs/Odometry for --memory; default: the only one')
    add('--base-from-camera', default='', metavar='"X Y Z ROLL PITCH YAW"',
        help='as base_from_camera, for --memory [m, rad]')
    add('--memory-near', type=float, default=0.0, metavar='S', help='as memory.near_s')


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
        help='cloud, scan or depth image of a sensor; default: the only one that the bag holds '
             "beside da_ros's own outputs; 'none' for none")
    add('--truth-info', default='', metavar='TOPIC', help='CameraInfo of a pinhole depth image')
    add('--extrinsic', nargs=6, type=float, metavar=('X', 'Y', 'Z', 'ROLL', 'PITCH', 'YAW'),
        help="pose of the truth sensor in the camera's body frame (x forward) [m, rad], "
             'instead of TF')
    add('--truth-min-range', type=float, default=LEAST_RANGE_M, metavar='M',
        help='what the truth sensor measures nearer than this is no return, or the robot itself '
             '[%(default)g]')
    add('--elevation', nargs=2, type=float, default=(-90.0, 90.0), metavar=('MIN', 'MAX'),
        help='lowest and highest elevation that the images show [deg], as '
             'erp.elevation_min_deg and erp.elevation_max_deg')
    add('--body-mask', metavar='PNG',
        help="the camera's image, white where the robot is (da_ros_body_mask): not scored")
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
    add('--scale-track', action='store_true', help='as scale.track')
    _add_memory(add)
    add('--backend', default='auto', help='inference runtime, as in the node')
    add('--threads', type=int, default=0, help='threads of the runtime, as in the node')
    add('--write-bag', default='', metavar='FOLDER',
        help='also write a new bag (mcap) with predictions and truth')
    args = parser.parse_args(argv)
    if args.every < 1:
        parser.error(f'--every {args.every} must be at least 1')
    low, high = args.elevation
    if not -90 <= low < high <= 90:
        parser.error(f'--elevation {low:g} {high:g} must rise within -90 to 90')
    return args


if __name__ == '__main__':
    sys.exit(main())

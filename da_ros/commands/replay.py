"""
Publish the panoramas of a bag or a folder as a camera would.

    da_ros_replay demo_output/demo_bag
    da_ros_replay demo_output/demo_bag --sim-time --all --record demo_output/answers
    da_ros_replay folder_of_panoramas --fps 10 --loop

The image goes to `image` (or `image/compressed`), which the node takes. Stamps are now, or those
of the recording with --sim-time (which publishes /clock; start the node with use_sim_time:=true)
or --keep-stamps. With --record, the node's outputs are written to a new bag (mcap).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
import signal
import sys
import threading
import time
from typing import Any

import cv2
import numpy as np

from da_ros.bag import BagError, BagReader, COMPRESSED, IMAGE
from da_ros.bag_writer import BagWriter
from da_ros.errors import DaRosError
from da_ros.replay import bag_frames, Frame, is_bag, pictures_of, stamp_of, with_stamp

OUTPUTS = {
    'depth/image': 'sensor_msgs/msg/Image', 'depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    'points': 'sensor_msgs/msg/PointCloud2', 'points_clearing': 'sensor_msgs/msg/PointCloud2',
    'scan': 'sensor_msgs/msg/LaserScan', 'obstacle_distance': 'sensor_msgs/msg/LaserScan',
    'range_mask': 'sensor_msgs/msg/Image', '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray'}


class Recorder:
    """Subscribes to the node's outputs and writes them to a bag as they come."""

    def __init__(self, node: Any, path: str, topics: dict[str, str]):
        """
        Create the bag and subscribe.

        :param topics: name -> message type
        :raises BagError: if the folder exists
        """
        from rclpy.qos import QoSProfile
        self._bag = BagWriter(path, 'mcap')
        self._lock = threading.Lock()
        self._node = node
        self.counts = dict.fromkeys(topics, 0)
        for topic, kind in topics.items():
            node.create_subscription(
                message_class(kind), topic, lambda raw, t=topic, k=kind: self._write(t, k, raw),
                QoSProfile(depth=10), raw=True)

    def _write(self, topic: str, kind: str, raw: bytes) -> None:
        with self._lock:
            self.counts[topic] += 1
            name = self._node.resolve_topic_name(topic)
            self._bag.write_raw(name, kind, raw, self._node.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Write the index and close."""
        with self._lock:
            self._bag.close()


class Player:
    """Publishes frames at their time."""

    def __init__(self, node: Any, rate: float, sim_time: bool, keep_stamps: bool,
                 renamed: dict[str, str]):
        """
        Prepare.

        :param rate: 2 = twice as fast
        :param sim_time: publish /clock, keep stamps
        :param renamed: topic of the source -> topic to publish
        """
        self._node, self._rate, self._renamed = node, rate, renamed
        self._keep = sim_time or keep_stamps
        self._publishers: dict[str, Any] = {}
        self._clock = self._clock_publisher() if sim_time else None
        self.sent: dict[str, int] = {}

    @property
    def running(self) -> bool:
        """Whether nobody asked to stop."""
        return bool(self._node.context.ok())

    def _clock_publisher(self) -> Any:
        return self._node.create_publisher(message_class('rosgraph_msgs/msg/Clock'), '/clock', 10)

    def advertise(self, topic: str, kind: str) -> None:
        """
        Create the publisher of a topic of the source.

        :raises BagError: if its message package is not installed
        """
        from rclpy.qos import DurabilityPolicy, QoSProfile
        profile = QoSProfile(depth=10)
        if topic.endswith('tf_static'):
            profile = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        name = self._renamed.get(topic, topic)
        self._publishers[topic] = self._node.create_publisher(message_class(kind), name, profile)

    def wait_for_subscriber(self, topic: str, seconds: float) -> bool:
        """Wait until somebody takes a topic; return whether."""
        end = time.monotonic() + seconds
        publisher = self._publishers[topic]
        while publisher.get_subscription_count() == 0 and self.running:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        time.sleep(0.5 if seconds else 0)
        return True

    def play(self, frames: Iterator[Frame], shift_ns: int = 0) -> int:
        """
        Publish frames at their time until they end or the context does.

        :param shift_ns: added to recorded stamps, for another round
        :return: time of the last frame [ns]
        """
        started, last_ns = time.monotonic(), 0
        for frame in frames:
            due = started + frame.time_ns / 1e9 / self._rate
            while self.running and (left := due - time.monotonic()) > 0:
                if self._clock is not None and left > 0.01:
                    self._tick(frame.log_ns + shift_ns - round(left * 1e9 * self._rate))
                time.sleep(min(left, 0.01))
            if not self.running:
                break
            self._send(frame, shift_ns)
            last_ns = frame.time_ns
        return last_ns

    def _send(self, frame: Frame, shift_ns: int) -> None:
        if self._clock is not None:
            self._tick(frame.log_ns + shift_ns)
        raw = frame.cdr
        if not self._keep:
            raw = with_stamp(frame, self._node.get_clock().now().nanoseconds)
        elif shift_ns:
            raw = with_stamp(frame, stamp_of(frame) + shift_ns)
        self._publishers[frame.topic].publish(raw)
        self.sent[frame.topic] = self.sent.get(frame.topic, 0) + 1

    def _tick(self, time_ns: int) -> None:
        assert self._clock is not None
        clock = message_class('rosgraph_msgs/msg/Clock')()
        clock.clock.sec, clock.clock.nanosec = divmod(max(time_ns, 0), 10**9)
        self._clock.publish(clock)


def message_class(kind: str) -> Any:
    """
    Return the rclpy class of a message type such as sensor_msgs/msg/Image.

    :raises BagError: if its package is not installed
    """
    package, _, name = kind.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise BagError(f'{kind} is not installed; source a ROS that has {package}') from error


def folder_frames(paths: Sequence[Path], fps: float, frame_id: str,
                  compressed: bool) -> Iterator[Frame]:
    """Yield the pictures of a folder as frames of topic `image`, in even steps."""
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CompressedImage, Image

    from da_ros.conversions import fill_image, header_for
    from da_ros.files import read_panorama
    for number, path in enumerate(paths):
        time_ns = round(number / fps * 1e9)
        header = header_for(time_ns, frame_id)
        if compressed:
            data = path.read_bytes()
            if path.suffix.lower() not in ('.jpg', '.jpeg'):
                data = cv2.imencode('.jpg', read_panorama(path))[1].tobytes()
            msg: Any = CompressedImage(header=header, format='jpeg', data=data)
        else:
            msg = fill_image(Image(), header, np.ascontiguousarray(read_panorama(path)), 'bgr8')
        kind = COMPRESSED if compressed else IMAGE
        yield Frame('image', kind, time_ns, time_ns, bytes(serialize_message(msg)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _arguments(argv)
    try:
        import rclpy
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    except ImportError:
        print("da_ros_replay: rclpy is not installed; run `pip install 'da_ros[ros]'` or source "
              'a ROS', file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, lambda *_: None)   # rclpy ends its context; the loops see it
    rclpy.init()
    node = rclpy.create_node('da_ros_replay')
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        return _replay(args, node)
    except (DaRosError, OSError) as error:
        print(f'da_ros_replay: {error}', file=sys.stderr)
        return 1
    finally:
        executor.shutdown()
        rclpy.try_shutdown()
        thread.join(2.0)


def _replay(args: argparse.Namespace, node: Any) -> int:
    source = Path(args.source)
    if not source.exists():
        raise BagError(f'no bag or folder {source}')
    recorder = None
    if args.record:
        prefix = args.prefix.rstrip('/')
        names = {t if t.startswith('/') or not prefix else f'{prefix}/{t}': kind
                 for t, kind in OUTPUTS.items()}
        recorder = Recorder(node, args.record, names)
    try:
        if is_bag(source):
            with BagReader(source) as bag:
                _play_bag(args, node, bag)
        else:
            _play_folder(args, node, source)
        _linger(node, args.linger if recorder else 0.0)
    finally:
        if recorder is not None:
            recorder.close()
            print(f'recorded: {args.record} '
                  + ', '.join(f'{n} {t}' for t, n in recorder.counts.items() if n))
    return 0


def _play_bag(args: argparse.Namespace, node: Any, bag: BagReader) -> None:
    images = [t for t, kind in bag.kinds.items()
              if kind in (IMAGE, COMPRESSED) and 'depth' not in t and bag.counts[t]]
    given = args.image or (images[0] if len(images) == 1 else '')
    image = bag.find_topic(given, (IMAGE, COMPRESSED), 'image (--image)')
    target = args.to + ('/compressed' if bag.kinds[image] == COMPRESSED else '')
    player = Player(node, args.rate, args.sim_time, args.keep_stamps, {image: target})
    player.advertise(image, bag.kinds[image])
    topics = [image]
    for topic in sorted(set(bag.kinds) - {image}) if args.all else ():
        try:
            player.advertise(topic, bag.kinds[topic])
            topics.append(topic)
        except BagError as error:
            print(f'not replayed: {topic}: {error}', file=sys.stderr)
    _loop(args, player, image, target, lambda: bag_frames(bag, topics))


def _play_folder(args: argparse.Namespace, node: Any, folder: Path) -> None:
    pictures = pictures_of(folder)
    target = args.to + ('/compressed' if args.compressed else '')
    player = Player(node, args.rate, args.sim_time, args.keep_stamps, {'image': target})
    player.advertise('image', COMPRESSED if args.compressed else IMAGE)
    _loop(args, player, 'image', target,
          lambda: folder_frames(pictures, args.fps, args.frame, args.compressed))


def _loop(args: argparse.Namespace, player: Player, image: str, target: str, frames: Any) -> None:
    if not player.wait_for_subscriber(image, args.wait):
        print(f'nobody subscribes to {target} after {args.wait:g} s; publishing anyway',
              file=sys.stderr)
    started, shift_ns = time.monotonic(), 0
    while True:
        shift_ns += player.play(frames(), shift_ns) + round(1e9 / args.fps)
        if not args.loop or not player.running:
            break
    seconds = time.monotonic() - started
    print(f'{player.sent.get(image, 0)} images to {target} in {seconds:.1f} s')


def _linger(node: Any, seconds: float) -> None:
    """Let the last answers arrive."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and node.context.ok():
        time.sleep(0.05)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='da_ros_replay', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('source', help='bag (.bag, folder, .mcap, .db3), or folder of JPEG/PNG panoramas')
    add('--image', default='', metavar='TOPIC', help='image topic of the bag; default: the only')
    add('--to', default='image', metavar='TOPIC', help='topic to publish to [%(default)s]')
    add('--all', action='store_true', help='publish all other topics of the bag too')
    add('--rate', type=float, default=1.0, help='2 = twice as fast [%(default)s]')
    add('--fps', type=float, default=10.0, help='of a folder [Hz, %(default)s]')
    add('--frame', default='camera_frame', help='frame_id of a folder [%(default)s]')
    add('--compressed', action='store_true', help='publish a folder as CompressedImage')
    add('--loop', action='store_true', help='start again at the end')
    add('--sim-time', action='store_true', help='publish /clock and keep the recorded stamps')
    add('--keep-stamps', action='store_true', help='keep the recorded stamps without /clock')
    add('--wait', type=float, default=10.0, metavar='S', help='for a subscriber [%(default)s]')
    add('--record', default='', metavar='FOLDER', help='write the outputs to a new bag (mcap)')
    add('--prefix', default='', metavar='NAMESPACE', help='of the node, for --record')
    add('--linger', type=float, default=2.0, metavar='S',
        help='record this long after the last image [%(default)s]')
    args = parser.parse_args(argv)
    for name in ('rate', 'fps'):
        if not getattr(args, name) > 0:
            parser.error(f'--{name} {getattr(args, name):g} must be above 0')
    return args


if __name__ == '__main__':
    sys.exit(main())

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Publish the panoramas of a bag or a folder as a camera would.

    da_ros_replay demo_output/demo_bag
    da_ros_replay demo_output/demo_bag --sim-time --all --record demo_output/answers --wait-answers
    da_ros_replay folder_of_panoramas --fps 10 --loop

The image goes to `image` (or `image/compressed`), which the node takes. All stamps, those of TF,
IMU and clouds too, are moved to now by one law; with --sim-time they are those of the recording
(which publishes /clock; start the node with use_sim_time:=true), with --keep-stamps as well, but
without /clock. --all leaves out what somebody publishes live. With --record, the node's outputs
are written to a new bag (mcap); an image without an answer is told, and the exit code is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count as endless
from pathlib import Path
import signal
import sys
import threading
import time
from typing import Any

from da_ros.bags.bag import BagReader, COMPRESSED
from da_ros.bags.frames import bag_frames, Frame, is_bag, pictures_of
from da_ros.bags.storage import BagError
from da_ros.bags.topics import find_image
from da_ros.commands.player import Pictures, Player
from da_ros.commands.recorder import Recorder
from da_ros.errors import DaRosError

ANSWER_S = 10.0               # how long an answer may take with --wait-answers
MOST_UNANSWERED = 3           # in a row; then nobody answers at all
SHARED = ('/tf', '/tf_static')    # topics of many publishers: recorded and live ones add up


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _arguments(argv)
    interrupted = threading.Event()
    # Before the imports, which take a second: Python's own handler would raise inside them.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        import rclpy

        from da_ros.ros.transport import use_shared_memory_profile
    except ImportError:
        print("da_ros_replay: rclpy is not installed; run `pip install 'da_ros[ros]'` or source "
              'a ROS', file=sys.stderr)
        return 1
    use_shared_memory_profile()
    rclpy.init()
    if interrupted.is_set():
        rclpy.try_shutdown()
    try:
        with _spinning() as node:
            return _replay(args, node)
    except (DaRosError, OSError) as error:
        print(f'da_ros_replay: {error}', file=sys.stderr)
        return 1
    except Exception:
        if rclpy.ok():
            raise
        return 0                  # a signal ended the context before this call of rclpy
    finally:
        rclpy.try_shutdown()


@contextmanager
def _spinning() -> Iterator[Any]:
    """Yield a node that a thread of its own spins; the context is the caller's to end."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    node, executor = rclpy.create_node('da_ros_replay'), SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:         # a callback that the signal overtook
            if rclpy.ok():
                raise

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(2.0)


def _replay(args: argparse.Namespace, node: Any) -> int:
    source = Path(args.source)
    if not source.exists():
        raise BagError(f'no bag or folder {source}')
    recorder = None
    if args.record or args.wait_answers:
        recorder = Recorder(node, args.prefix, args.record)
    try:
        if is_bag(source):
            with BagReader(source) as bag:
                complete, sent = True, _play_bag(args, node, bag, recorder)
        else:
            complete, sent = _play_folder(args, node, source, recorder)
        if recorder is not None:
            recorder.linger(sent, args.linger)
    finally:
        if recorder is not None:
            recorder.close()
            if args.record:
                print(f'recorded: {args.record} '
                      + ', '.join(f'{n} {t}' for t, n in recorder.counts.items() if n))
    missing = 0
    # A recording that somebody ends by Ctrl-C is not judged by its last images.
    if recorder is not None and node.context.ok():
        missing = max(sent - recorder.answered, 0)
    if missing:
        print(f'da_ros_replay: {missing} of {sent} images have no answer; '
              + ('look at the log of the node' if args.wait_answers else
                 'let each image wait for the answer to the last one (--wait-answers), or play '
                 'slower (--rate, --fps)'), file=sys.stderr)
    return 0 if complete and not missing else 1


def _play_bag(args: argparse.Namespace, node: Any, bag: BagReader,
              recorder: Recorder | None) -> int:
    image = find_image(bag, args.image)
    target = args.to + ('/compressed' if bag.kinds[image] == COMPRESSED else '')
    player = Player(node, args.rate, args.sim_time or args.keep_stamps, args.sim_time,
                    {image: target})
    player.advertise(image, bag.kinds[image])
    _wait(args, player, image, target)
    if args.sim_time and (others := player.others('/clock')):
        raise BagError(f'/clock is published by {", ".join(others)} already; two clocks mix two '
                       'times: end that one, or use --keep-stamps instead of --sim-time')
    topics = [image, *(_others(args, player, bag, image, recorder) if args.all else ())]
    return _loop(args, player, image, target, lambda: bag_frames(bag, topics), recorder)


def _others(args: argparse.Namespace, player: Player, bag: BagReader, image: str,
            recorder: Recorder | None) -> list[str]:
    """Advertise the other topics of a bag; name those that are left out, with the reason."""
    topics, target = [], args.to if args.to.startswith('/') else f'/{args.to}'
    reserved = {target: 'the images go there', f'{target}/compressed': 'the images go there'}
    if not args.keep_stamps or args.sim_time:
        reserved['/clock'] = 'the recorded time is published anew' if args.sim_time else \
            'stamps are moved to now'
    if recorder is not None:
        reserved |= dict.fromkeys(recorder.topics, 'the live answers are recorded')
    left_out = dict(bag.left_alone)
    for topic in sorted(set(bag.kinds) - {image}):
        try:
            if topic in reserved:
                left_out[topic] = reserved[topic]
            elif topic not in SHARED and (others := player.others(topic)):
                left_out[topic] = f'{", ".join(others)} publishes it live'
            else:
                player.advertise(topic, bag.kinds[topic])
                topics.append(topic)
        except BagError as error:
            left_out[topic] = str(error)
    for topic, reason in sorted(left_out.items()):
        print(f'not replayed: {topic}: {reason}', file=sys.stderr)
    time.sleep(0.5 if topics and args.wait else 0)         # until subscribers know them
    return topics


def _play_folder(args: argparse.Namespace, node: Any, folder: Path,
                 recorder: Recorder | None) -> tuple[bool, int]:
    """Return whether every picture could be read, and how many were sent."""
    pictures = Pictures(pictures_of(folder), args.fps, args.frame, args.compressed, args.height)
    target = args.to + ('/compressed' if args.compressed else '')
    player = Player(node, args.rate, args.sim_time or args.keep_stamps, args.sim_time,
                    {'image': target})
    player.advertise('image', pictures.kind)
    _wait(args, player, 'image', target)
    sent = _loop(args, player, 'image', target, pictures.frames, recorder)
    return not pictures.bad, sent


def _wait(args: argparse.Namespace, player: Player, image: str, target: str) -> None:
    if args.wait and not player.wait_for_subscriber(image, args.wait):
        print(f'nobody subscribes to {target} after {args.wait:g} s; publishing anyway',
              file=sys.stderr)


def _loop(args: argparse.Namespace, player: Player, image: str, target: str,
          frames: Callable[[], Iterator[Frame]], recorder: Recorder | None) -> int:
    """Play once, or until somebody stops it; return how many images were sent."""
    if args.wait_answers and recorder is not None:
        player.pause = _until_answered(player, image, target, recorder)
    started_s = time.monotonic()
    rounds = (frames() for _ in (endless() if args.loop else range(1)))
    player.play(rounds, round(1e9 / args.fps))
    sent = player.sent.get(image, 0)
    print(f'{sent} images to {target} in {time.monotonic() - started_s:.1f} s')
    return sent


def _until_answered(player: Player, image: str, target: str,
                    recorder: Recorder) -> Callable[[str], None]:
    """Return a pause that lasts until the image sent last is answered."""
    lost = in_a_row = 0

    def pause(topic: str) -> None:
        nonlocal lost, in_a_row
        if topic != image:
            return
        if recorder.wait(player.sent[image] - lost, ANSWER_S) or not player.running:
            in_a_row = 0
            return
        lost, in_a_row = player.sent[image] - recorder.answered, in_a_row + 1
        if in_a_row == MOST_UNANSWERED:
            raise BagError(f'{in_a_row} images in a row to {target} had no answer within '
                           f'{ANSWER_S:g} s each; does the node run, does it take {target}, and '
                           'is --prefix its namespace?')
    return pause


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='da_ros_replay', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('source', help='bag (.bag, folder, .mcap, .db3), or JPEG/PNG panoramas: folder or file')
    add('--image', default='', metavar='TOPIC', help='image topic of the bag; default: the only')
    add('--to', default='image', metavar='TOPIC', help='topic to publish to [%(default)s]')
    add('--all', action='store_true', help='publish all other topics of the bag too')
    add('--rate', type=float, default=1.0, help='2 = twice as fast [%(default)s]')
    add('--fps', type=float, default=10.0, help='of a folder [Hz, %(default)s]')
    add('--frame', default='camera_frame', help='frame_id of a folder [%(default)s]')
    add('--height', type=int, default=0, metavar='ROWS', help='scale the pictures of a folder')
    add('--compressed', action='store_true', help='publish a folder as CompressedImage')
    add('--loop', action='store_true', help='start again at the end')
    add('--sim-time', action='store_true', help='publish /clock and keep the recorded stamps')
    add('--keep-stamps', action='store_true', help='keep the recorded stamps without /clock')
    add('--wait', type=float, default=10.0, metavar='S', help='for a subscriber [%(default)s]')
    add('--wait-answers', action='store_true',
        help='send an image only when the last one was answered: no machine is too slow for that')
    add('--record', default='', metavar='FOLDER', help='write the outputs to a new bag (mcap)')
    add('--prefix', default='', metavar='NAMESPACE',
        help='of the node, for --record and --wait-answers')
    add('--linger', type=float, default=2.0, metavar='S',
        help='how long the last answers may take [%(default)s]')
    args = parser.parse_args(argv)
    for name in ('rate', 'fps'):
        if not getattr(args, name) > 0:
            parser.error(f'--{name} {getattr(args, name):g} must be above 0')
    if args.height < 0:
        parser.error(f'--height {args.height} must not be negative')
    return args


if __name__ == '__main__':
    sys.exit(main())

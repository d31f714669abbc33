# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
How long after the end of a fault the next right output comes: asked for are 2 s.

    python -m bench.recovery [--turns 5]

Node, and camera with receiver, are two processes; the camera gives 10 Hz, the network is the
stand-in of the tests. Right is an output whose stamp is later than the end of the fault and whose
ranges are those of the picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
import signal
from statistics import median
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

TEST = Path(__file__).parents[1] / 'test'
sys.path.insert(0, str(TEST))
from conftest import painted, write_stand_in_bundle  # noqa: E402
from ros_peer import array_of, image_msg, NodeProcess, Peer  # noqa: E402

PERIOD_S, RANGE_M = 0.1, 4.0
LIVING, NOISE = painted(np.full((32, 64), RANGE_M, np.float32)), np.random.default_rng(0)
FAULTY = (str(TEST / 'faults/faulty_node.py'),)


class Rig:
    """A node and its camera."""

    def __init__(self, folder: Path, fault: str = '', **parameters: Any):
        """Start both, and wait for a right output."""
        bundle = write_stand_in_bundle(folder / 'bundle')
        self._start = lambda: NodeProcess(
            folder / 'log', model=bundle.folder, **({'program': FAULTY, 'extra': {'FAULT': fault}}
                                                    if fault else {}),
            **({'backend': 'onnxruntime'} | parameters))
        self.node, self.peer, self._next = self._start(), Peer(), 0.0
        self.outputs: list[tuple[float, Image]] = []
        self.peer.node.create_subscription(
            Image, 'depth/image', lambda msg: self.outputs.append((time.monotonic(), msg)), 10)
        self.until_right()

    def picture(self) -> np.ndarray:
        """Return a picture of a living camera: red is noise, and means nothing."""
        image = LIVING.copy()
        image[..., 2] = NOISE.integers(0, 256, image.shape[:2])
        return image

    def stream(self, seconds: float, image: np.ndarray | None = None, encoding: str = 'bgr8',
               late_s: float = 0.0) -> None:
        """Publish what a camera gives, stamped now."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + PERIOD_S
                self.peer.publish(image_msg(self.picture() if image is None else image,
                                            time.time_ns() - int(late_s * 1e9),
                                            encoding=encoding))
            self.peer.executor.spin_once(timeout_sec=0.005)

    def until_right(self) -> float:
        """Stream until a right output comes of an image from now on; return the seconds."""
        began, began_ns, seen = time.monotonic(), time.time_ns(), len(self.outputs)
        self._next = 0.0
        while time.monotonic() < began + 60:
            self.stream(0.005)
            for came, msg in self.outputs[seen:]:
                stamp_ns = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
                if stamp_ns >= began_ns and np.allclose(array_of(msg), RANGE_M):
                    return came - began
            seen = len(self.outputs)
        raise TimeoutError(f'no right output within 60 s: {self.node.log}')

    def restart(self) -> None:
        """Start another process, as a supervisor would."""
        self.node = self._start()

    def close(self) -> None:
        """End both."""
        self.peer.close()
        self.node.stop(signal.SIGKILL)


def silence(rig: Rig) -> None:
    """Camera silent for 3 s, to its first image back."""
    rig.peer.spin(3)


def bad_encoding(rig: Rig) -> None:
    """Images of an unknown encoding for 2 s, to the first good one."""
    rig.stream(2, encoding='nonsense')


def jump_back(rig: Rig) -> None:
    """Stamps an hour late for 2 s, to the first right one."""
    rig.stream(2, late_s=3600)


def black(rig: Rig) -> None:
    """Black picture for 3 s (`image_health.act`), to the first living one."""
    rig.stream(3, np.zeros_like(LIVING))
    assert np.isnan(array_of(rig.outputs[-1][1])).all()


def frozen(rig: Rig) -> None:
    """Frozen picture for 3 s (`image_health.act`), to the first living one."""
    rig.stream(3, rig.picture())
    assert np.isnan(array_of(rig.outputs[-1][1])).all()


def stopped(rig: Rig) -> None:
    """Process stopped for 3 s (SIGSTOP), to SIGCONT."""
    rig.node.process.send_signal(signal.SIGSTOP)
    rig.stream(3)
    rig.node.process.send_signal(signal.SIGCONT)


def storm(rig: Rig) -> None:
    """Parameters changed by three clients at once, to the last answer."""
    def client() -> None:
        peer = Peer()
        for metres in (20.0, 50.0, 100.0):
            peer.set_parameters(range_mask_m=metres, max_range_m=metres)
        peer.close()
    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()
    while any(thread.is_alive() for thread in clients):
        rig.stream(0.05)


def inactive(rig: Rig) -> None:
    """Deactivated, cleaned up and configured, to the answer to activate."""
    for transition in (4, 2, 1, 3):
        assert rig.peer.change_state(transition)


def killed(rig: Rig) -> None:
    """Process killed (SIGKILL), to the start of the next one."""
    rig.node.stop(signal.SIGKILL)
    rig.restart()


def fallen_back(kind: str) -> Callable[[Path], float]:
    """Return what lets a runtime fail in the middle, and measures to the next right output."""
    def measure(folder: Path) -> float:
        with closing(Rig(folder, kind, backend='auto')) as rig:
            while 'inference failed' not in rig.node.log:
                rig.stream(0.005)
            seconds = rig.until_right()
            assert 'now running on' in rig.node.log, rig.node.log       # bf16: on fp32 first
            return seconds
    return measure


FAULTS = (silence, bad_encoding, jump_back, black, frozen, stopped, storm, inactive, killed)
FALL_BACKS = {'raises': 'Runtime raises', 'memory': 'Runtime is out of memory',
              'nan': 'Runtime gives NaN three times'}


def rows(turns: int) -> Iterator[tuple[str, list[float]]]:
    """Yield what is said of each fault, and the seconds of every turn."""
    with (tempfile.TemporaryDirectory() as made,
          closing(Rig(Path(made), **{'image_health.act': True})) as rig):
        for fault in FAULTS:
            seconds = []
            for _ in range(turns):
                rig.stream(0.5)
                fault(rig)
                seconds.append(rig.until_right())
            yield str(fault.__doc__).rstrip('.'), seconds
    for kind, text in FALL_BACKS.items():
        seconds = []
        for _ in range(turns):
            with tempfile.TemporaryDirectory() as made:
                seconds.append(fallen_back(kind)(Path(made)))
        yield f'{text}, from its word in the log', seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[1])
    parser.add_argument('--turns', type=int, default=5, help='of each fault')
    print('| fault, and what counts as its end | median s | worst s |\n|---|---|---|', flush=True)
    for text, seconds in rows(parser.parse_args().turns):
        print(f'| {text} | {median(seconds):.2f} | {max(seconds):.2f} |', flush=True)


if __name__ == '__main__':
    main()

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Hand-off, parameters, fall-back and shutdown in every order in which threads can meet.

The classes are the node's own; runtime, publishers and DDS are replaced by what keeps account.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

from conftest import write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from interleaved_node import HW, World
from rclpy.parameter import Parameter
from ros_peer import image_msg
from schedules import at_random, codes_of, Deadlock, exhaustive, Turns

from da_ros.backends import chain as chaining
from da_ros.backends.chain import BackendChain
from da_ros.cameras.rig import View
from da_ros.estimator import RangeEstimator
from da_ros.ros import video_worker
from da_ros.ros.camera_pipeline import CameraPipeline
from da_ros.ros.frame_server import FrameServer
from da_ros.ros.frame_worker import FrameWorker
from da_ros.ros.node import PanoDepthNode
from da_ros.ros.video_worker import VideoWorker

SLOT = codes_of(FrameWorker, VideoWorker)
SHUTDOWN = codes_of(PanoDepthNode.close, PanoDepthNode._stop_worker, CameraPipeline.stop,
                    CameraPipeline.close, FrameServer.serve,
                    FrameServer._on_backend_error, BackendChain.fall_back,
                    BackendChain._open_next, BackendChain.cancel, BackendChain.close)
ALL = SLOT | SHUTDOWN | codes_of(FrameServer, RangeEstimator, BackendChain, PanoDepthNode._unload,
                                 PanoDepthNode._on_parameters, CameraPipeline)


def overload(world: World, frames: int = 2) -> list:
    """Frames come faster than they are served; the last one must come out."""
    def executor():
        world.camera.send(frames)
        world.turns.wait(world.settled)
        world.end()
        assert len(world.camera.published) + world.statistics.dropped == world.camera.submitted
    return [executor]


def change(world: World) -> list:
    """Parameters change while frames are served; what comes later has the new ones."""
    def executor():
        world.camera.send(2)
        assert world.node._on_parameters([Parameter('max_range_m', value=7.0)]).successful
        changed = world.camera.submitted
        world.camera.send()
        world.turns.wait(world.settled)
        world.end()
        assert {range_m for stamp, range_m in world.camera.published if stamp > changed} == {7.0}
        assert {range_m for _, range_m in world.camera.published} <= {100.0, 7.0}
    return [executor]


def fall_back(world: World) -> list:
    """The runtime fails in the middle; the next one serves what follows."""
    def executor():
        world.camera.send(2)
        world.turns.wait(lambda: world.statistics.failed == 1)
        world.camera.send()
        world.turns.wait(world.settled)
        assert [runtime.closed for runtime in world.runtimes] == [True, False]
        assert any('lost the device' in text for text in world.log)
        world.end()
    return [executor]


def shutdown(world: World) -> list:
    """The node is shut down, whatever it is doing; its runtime may fail just then."""
    def executor():
        world.camera.send(2)
        world.end()
    return [executor]


def interrupt(world: World) -> list:
    """The context ends at any moment, as by a signal, and the node after it."""
    def executor():
        world.camera.send(2)
        world.end()

    def signal():
        world.turns.step()
        world.alive = False
    return [executor, signal]


def video(world: World) -> list:
    """Messages are decoded in a thread of their own; every one is, in order."""
    decoded = []

    def decode(data: bytes):
        world.turns.step()
        decoded.append(len(data))
        return np.zeros((*HW, 3), np.uint8)
    world.camera._video._decoder = SimpleNamespace(decode=decode, waiting=0)

    def executor():
        for _ in range(3):
            world.camera.submitted += 1
            msg = image_msg(np.zeros((*HW, 3), np.uint8), world.camera.submitted)
            world.camera._on_image(SimpleNamespace(
                header=msg.header, format='h264', data=b'0' * world.camera.submitted))
        world.turns.wait(world.settled)
        assert decoded == [1, 2, 3]
        world.end()
    return [executor]


def two_cameras(world: World) -> list:
    """A fast camera and a slow one: the newest frame of each comes out, none waits for two."""
    front, rear = world.cameras

    def executor():
        front.send(2)
        rear.send()
        front.send()
        world.turns.wait(world.settled)
        world.end()
        for camera in world.cameras:
            assert len(camera.published) + camera._statistics.dropped == camera.submitted
    return [executor]


def two_cameras_change(world: World) -> list:
    """A parameter of one camera changes; the frames of the other do not follow it."""
    front, rear = world.cameras

    def executor():
        front.send()
        rear.send()
        world.node._settings.own['front']['max_range_m'] = Parameter('max_range_m', value=50.0)
        assert world.node._on_parameters([Parameter('front.max_range_m', value=7.0)]).successful
        front.send()
        rear.send()
        world.turns.wait(world.settled)
        world.end()
        assert front.published[-1] == (2, 7.0)
        assert {range_m for _, range_m in rear.published} == {100.0}
    return [executor]


def two_cameras_fall_back(world: World) -> list:
    """The runtime fails under one camera; the next one serves both."""
    front, rear = world.cameras

    def executor():
        front.send()
        rear.send()
        world.turns.wait(lambda: sum(camera._statistics.failed for camera in world.cameras) == 1)
        front.send()
        rear.send()
        world.turns.wait(world.settled)
        assert [runtime.closed for runtime in world.runtimes] == [True, False]
        world.end()
    return [executor]


def two_cameras_shutdown(world: World) -> list:
    """The node is shut down, whichever camera it is serving."""
    def executor():
        for camera in world.cameras:
            camera.send(2)
        world.end()
    return [executor]


SCENARIOS = {'two_cameras': two_cameras, 'two_cameras_change': two_cameras_change,
             'two_cameras_fall_back': two_cameras_fall_back,
             'two_cameras_shutdown': two_cameras_shutdown,
             'overload': overload, 'burst': partial(overload, frames=4), 'change': change,
             'fall_back': fall_back, 'shutdown': shutdown,
             'shutdown_while_falling_back': shutdown, 'interrupt': interrupt,
             'interrupt_while_falling_back': interrupt, 'video': video}


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    """Return a loaded bundle, its rig and its view, which all runs share."""
    loaded = write_stand_in_bundle(tmp_path_factory.mktemp('b') / 'b', HW)
    rig = RangeEstimator(loaded, 'onnxruntime').rig
    return SimpleNamespace(bundle=loaded, rig=rig, view=View(rig, HW, loaded.resize))


@pytest.fixture
def play(bundle, monkeypatch):
    """Return a function that runs one scenario by one plan."""
    monkeypatch.setattr(chaining.gate, 'prove', lambda backend, bundle: 'proven')
    monkeypatch.setattr(video_worker, 'VideoDecoder', SimpleNamespace)

    def play(name: str, choose, codes=SLOT | SHUTDOWN, opcodes=False) -> bool:
        turns = Turns(choose, codes, opcodes)
        with monkeypatch.context() as patch:
            world = World(turns, bundle, patch, name)
            turns.run(*SCENARIOS[name](world))
            world.check()
        return True
    return play


@pytest.mark.parametrize('name, codes, preemptions', [
    ('overload', SLOT, 3), ('shutdown', SLOT, 3), ('change', SLOT, 1), ('video', SLOT, 1),
    ('two_cameras', SLOT, 2), ('two_cameras_change', SLOT, 1), ('two_cameras_shutdown', SLOT, 2),
    ('two_cameras_fall_back', SLOT | SHUTDOWN, 1),
    ('fall_back', SLOT | SHUTDOWN, 1), ('shutdown', SLOT | SHUTDOWN, 2),
    ('shutdown_while_falling_back', SLOT | SHUTDOWN, 2), ('interrupt', SLOT | SHUTDOWN, 1),
    ('interrupt_while_falling_back', SLOT | SHUTDOWN, 1)])
def test_the_law_holds_in_every_order(play, name, codes, preemptions):
    count = sum(play(name, choose, codes) for choose in exhaustive(preemptions))
    assert count > 20                   # it is not always the same order


@pytest.mark.slow
@pytest.mark.parametrize('name, preemptions', [
    ('overload', 3), ('burst', 2), ('change', 3), ('fall_back', 3), ('shutdown', 3),
    ('shutdown_while_falling_back', 3), ('interrupt', 2), ('interrupt_while_falling_back', 2),
    ('video', 1), ('two_cameras', 2), ('two_cameras_change', 2), ('two_cameras_fall_back', 2),
    ('two_cameras_shutdown', 2)])
def test_the_law_holds_in_every_order_of_more_preemptions(play, name, preemptions):
    assert sum(play(name, choose) for choose in exhaustive(preemptions)) > 700


def at_chance(play, name: str, seeds: range) -> None:
    for seed in seeds:
        try:
            # Half of them also within a line, where `a += b` can be torn.
            play(name, at_random(seed, 0.3 / (1 + seed % 7)), ALL, opcodes=bool(seed % 2))
        except BaseException as error:
            raise AssertionError(f'{name}, seed {seed}: {error!r}') from error


@pytest.mark.parametrize('name', SCENARIOS)
def test_the_law_holds_in_orders_by_chance(play, name):
    at_chance(play, name, range(2000 // len(SCENARIOS)))


@pytest.mark.slow
@pytest.mark.parametrize('name', SCENARIOS)
def test_the_law_holds_in_100_000_orders_by_chance(play, name):
    at_chance(play, name, range(2000, 2000 + 100_000 // len(SCENARIOS)))


def test_a_lost_wake_up_would_be_seen(play, monkeypatch):
    def submit(worker, msg, camera=0) -> bool:
        worker._slots[camera] = msg        # and nobody is told
        return False
    monkeypatch.setattr(FrameWorker, 'submit', submit)
    with pytest.raises(Deadlock):
        for choose in exhaustive(1):
            play('overload', choose)


def test_a_frame_served_twice_would_be_seen(play, monkeypatch):
    def run(worker) -> None:
        while not worker.stopping:
            with worker._news:
                worker._news.wait_for(lambda: worker._slots[0] is not None or worker.stopping)
                msg = worker._slots[0]
            if msg is not None:
                worker._serve[0](msg)
                worker._slots[0] = None    # a newer one would be lost, or this one come twice
    monkeypatch.setattr(FrameWorker, '_run', run)
    with pytest.raises(AssertionError):
        for choose in exhaustive(2):
            play('overload', choose, codes_of(FrameWorker, run))


def test_a_camera_that_always_comes_first_would_be_seen(play, monkeypatch):
    def run(worker) -> None:
        while True:
            with worker._news:
                worker._news.wait_for(lambda: worker._waiting() or worker.stopping)
                if worker.stopping:
                    return
                camera = next(k for k, msg in enumerate(worker._slots) if msg is not None)
                msg, worker._slots[camera] = worker._slots[camera], None
            worker._serve[camera](msg)
    monkeypatch.setattr(FrameWorker, '_run', run)
    with pytest.raises(AssertionError, match='rear starves'):
        for choose in exhaustive(2):
            play('two_cameras', choose, codes_of(FrameWorker, run))

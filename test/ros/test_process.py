# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The process of the node: its arguments, its log files, and callbacks that raise."""

from pathlib import Path
import shlex
import signal
import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import environment, wait_until

from da_ros.ros import node
from da_ros.ros.process import log_arguments

NODE = (sys.executable, '-m', 'da_ros.ros.node')


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess:
    return subprocess.run([*NODE, *arguments], env=environment() | extra, timeout=60,
                          capture_output=True, text=True)


@pytest.fixture
def started(tmp_path):
    """Return a function that starts a command line; it returns the process and its log."""
    processes = []

    def start(command, env) -> tuple[subprocess.Popen, Path]:
        log = tmp_path / f'{len(processes)}.log'
        with log.open('w') as stream:
            processes.append(subprocess.Popen(command, env=env, cwd=tmp_path, stdout=stream,
                                              stderr=subprocess.STDOUT))
        return processes[-1], log

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize('arguments, text', [
    (['camera_height_m:=1.2'], "unknown argument 'camera_height_m:=1.2'; parameters follow "
                               '--ros-args'),
    (['--verbose'], "unknown argument '--verbose'"),
    (['--ros-args', '-r', 'a:=b', '--', '__node:=x'], "unknown argument '__node:=x'"),
    (['', 'a:=b', '--params-file', 'nowhere.yaml'], "unknown argument ''"),
    (['--ros-args', '--nonsense'], "unknown argument after --ros-args: '--nonsense'"),
    (['--ros-args', '-p', 'range_mask_m'], "parameter override rule: '-p range_mask_m'"),
    (['--ros-args', '-r', 'image'], "remap rule: '-r image'"),
    (['--ros-args', '-r', '__ns:=a b'], "remap rule: '-r __ns:=a b'"),
    (['--ros-args', '--params-file', 'nowhere.yaml'], "params file: '--params-file nowhere.yaml'"),
    (['--ros-args', '--log-level', 'loud'], "log level: '--log-level loud'")])
def test_a_wrong_argument_is_one_line(arguments, text, capfd):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as ended:
        node.main(arguments)
    line, = capfd.readouterr().err.splitlines()     # rcl prints past Python's sys.stderr
    assert ended.value.code == 2 and line.startswith('pano_depth: ') and text in line
    assert line.endswith('see pano_depth --help') and '.c:' not in line
    # What is ignored here would be ignored by every process that is started from here.
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_an_argument_that_only_the_node_can_refuse_is_one_line_too():
    done = run('--ros-args', '-p', 'use_sim_time:=7')
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "'use_sim_time' to '7' of type 'INTEGER'" in done.stderr


def test_the_example_of_the_help_runs(started):
    shown = run('--help')
    assert shown.returncode == 0
    example, = (line.strip() for line in shown.stdout.splitlines()
                if line.strip().startswith('pano_depth --ros-args'))
    process, log = started([*NODE, *shlex.split(example)[1:]], environment())
    wait_until(lambda: 'runs on' in log.read_text(), 'a runtime', detail=log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert 'cannot' not in log.read_text() and 'limit 20 m' in log.read_text()
    assert 'taken because pano_base alone gives ' in log.read_text()        # no model is named


@pytest.mark.parametrize('change, text', [
    ({'HOME': None}, "no log file is written, because 'HOME' is not set; set ROS_LOG_DIR"),
    ({'HOME': '/proc'}, "'/proc/.ros/log' is no folder that can be written; set ROS_LOG_DIR")])
def test_the_node_starts_where_no_log_can_be_written(started, model, change, text):
    env = {name: value for name, value in environment().items()
           if name not in ('ROS_LOG_DIR', 'ROS_HOME')} | change
    process, log = started(
        [*NODE, '--ros-args', '-p', f'model:={model}', '-p', 'backend:=onnxruntime'],
        {name: value for name, value in env.items() if value is not None})
    wait_until(lambda: 'runs on' in log.read_text(), 'a runtime', detail=log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0 and 'Traceback' not in log.read_text()
    assert text in log.read_text()


@pytest.mark.parametrize('settings, told', [
    (dict(HOME='home'), ''), (dict(ROS_HOME='ros'), ''), (dict(ROS_LOG_DIR='logs'), ''),
    (dict(ROS_LOG_DIR='/proc/log', HOME='home'), "'/proc/log' is no folder"),
    (dict(ROS_HOME='/proc/ros', HOME='home'), "'/proc/ros/log' is no folder")])
def test_the_place_of_the_log_is_that_of_rclpy(monkeypatch, tmp_path, capsys, settings, told):
    monkeypatch.chdir(tmp_path)
    for name in ('HOME', 'ROS_HOME', 'ROS_LOG_DIR'):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    given = log_arguments()
    assert given == (['--ros-args', '--disable-external-lib-logs'] if told else [])
    assert told in capsys.readouterr().err
    made = {'HOME': 'home/.ros/log', 'ROS_HOME': 'ros/log', 'ROS_LOG_DIR': 'logs'}
    assert told or (tmp_path / made[next(iter(settings))]).is_dir()


FAULTY = """
import ctypes, sys, time
from da_ros.ros import process
from rclpy.node import Node
from std_srvs.srv import Trigger

class Faulty(Node):
    def __init__(self):
        super().__init__('faulty')
        self.count = 0
        self.create_timer(0.05, self.tick)
    def tick(self):
        self.count += 1
        if self.count == 40:
            print('still serving', flush=True)
        if self.count % 2 or sys.argv[1] == 'always':
            raise ValueError(f'odd number {self.count}')
    def close(self):
        print('closed', flush=True)
        if sys.argv[1] == 'hangs':
            ctypes.PyDLL(None).sleep(60)        # C code that keeps the interpreter for itself

process.DEAD_S = 3.0
process.serve(Faulty, 'usage', [])
"""


def test_a_callback_that_raises_is_logged_and_serving_goes_on(started):
    process, log = started([sys.executable, '-u', '-c', FAULTY, 'sometimes'], environment())
    wait_until(lambda: 'still serving' in log.read_text(), 'service', detail=log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0 and 'closed' in log.read_text()
    text = 'a callback failed, serving goes on: ValueError: odd number '
    assert log.read_text().count(text) == 1 and 'in tick' in log.read_text()


def test_a_library_that_hangs_with_the_interpreter_locked_does_not_keep_the_process(started):
    process, log = started([sys.executable, '-u', '-c', FAULTY, 'hangs'], environment())
    wait_until(lambda: 'still serving' in log.read_text(), 'service', detail=log.read_text)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGALRM and 'closed' in log.read_text()


INTERRUPTED = """
import gc, rclpy
from da_ros.ros import process
rclpy.init()
rclpy.shutdown()                # as a signal does in between
try:
    process._Executor()
except Exception as error:
    print(type(error).__name__)
gc.collect()
"""


def test_a_signal_while_the_executor_is_made_leaves_no_traceback():
    done = subprocess.run([sys.executable, '-c', INTERRUPTED], env=environment(),
                          capture_output=True, text=True)
    assert done.stdout.strip(), 'nothing was interrupted'
    assert 'Traceback' not in done.stderr, done.stderr


def test_a_process_in_which_nothing_works_any_more_ends_with_an_error(started):
    process, log = started([sys.executable, '-u', '-c', FAULTY, 'always'], environment())
    assert process.wait(60) == 1, log.read_text()
    assert 'still serving' in log.read_text() and 'closed' in log.read_text()

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node's process: arguments, signals, log files, and serving on whatever a callback raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import os
from pathlib import Path
import re
import signal
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.utilities import remove_ros_args

from da_ros.ros.complaints import Complaints
from da_ros.ros.transport import remove_dead_segments, use_shared_memory_profile

LEAVE_S = 1.5            # after a signal
KILL_S = 5.0             # after a signal, if C code keeps the interpreter for itself
DEAD_S = 10.0            # after nothing but errors for so long, a new process is the better one
# What rclpy raises for an argument that it cannot take.
ARGUMENT_ERRORS = (RuntimeError, ValueError, ParameterException, NameValidationException)


class _Executor(SingleThreadedExecutor):
    """One whose making a signal may interrupt: rclpy's `__del__` then misses what it looks for."""

    _sigint_gc: Any = None


def serve(make: Callable[[], Any], usage: str, args: Sequence[str] | None = None) -> None:
    """
    Run a node until SIGINT or SIGTERM; returns within two seconds of either.

    :param make: returns the node, which has `close` to stop whatever it does
    :param args: of the command line, without the program's name; None = those of this process
    :raises SystemExit: after one line on a wrong argument
    """
    given = list(sys.argv[1:] if args is None else args)
    if '--help' in given or '-h' in given:
        print(usage)
        return
    _check_arguments(given)
    transports, removed = use_shared_memory_profile(), remove_dead_segments()
    # rclpy ends the spin by itself; Python's own handler would raise inside a callback.
    interrupt = signal.signal(signal.SIGINT, lambda *_: None)
    node = None
    try:
        node = _start(make, given)
        for text in filter(None, (transports, removed)):
            node.get_logger().info(text)
        executor = _Executor()
        executor.add_node(node)
        spin(executor, node)
    except Exception:
        if rclpy.ok():            # else a call that the signal overtook
            raise
    finally:
        if node is not None:
            _kill_later()
            _close(node)
        rclpy.try_shutdown()
        if node is None:        # the caller may start others, which inherit what is ignored
            signal.signal(signal.SIGINT, interrupt)
        else:
            for impatient in (signal.SIGINT, signal.SIGTERM):     # a second Ctrl-C changes nothing
                signal.signal(impatient, signal.SIG_IGN)


def _close(node: Any) -> None:
    try:
        node.close()
    except Exception as error:        # a device that hangs is no reason to stay, nor to crash
        print(f'{node.get_name()}: {error}', file=sys.stderr)


def _start(make: Callable[[], Any], given: list[str]) -> Any:
    try:
        rclpy.init(args=[sys.argv[0], *given, *log_arguments()])
    except ARGUMENT_ERRORS as error:
        _refuse(error)
    threading.Thread(target=_leave_in_time, daemon=True).start()
    try:
        return make()
    except ARGUMENT_ERRORS as error:
        if rclpy.ok():
            _refuse(error)
        raise


def _check_arguments(given: Sequence[str]) -> None:
    inside = False
    for argument in given:          # rcl takes old forms (__node:=NAME), passes over others
        if inside:
            inside = argument != '--'
        elif argument == '--ros-args':
            inside = True
        else:
            _refuse(f'unknown argument {argument!r}; parameters follow --ros-args, as in '
                    '--ros-args -p NAME:=VALUE')
    set_logger_level('rcl', LoggingSeverity.ERROR)      # it warns of what its error then names
    try:
        remove_ros_args([sys.argv[0], *given])
    except ARGUMENT_ERRORS as error:
        _refuse(error)
    finally:
        set_logger_level('rcl', LoggingSeverity.UNSET)


def _refuse(error: object) -> NoReturn:
    text = re.sub(r', at \S+:\d+', '', ' '.join(str(error).split()))     # places in C sources
    if text.startswith('['):                                            # rclpy's UnknownROSArgs
        text = f'unknown argument after --ros-args: {text.strip("[]")}'
    print(f'pano_depth: {text}; see pano_depth --help', file=sys.stderr)
    raise SystemExit(2)


def log_arguments() -> list[str]:
    """Return what keeps rclpy from log files where none can be written; it would not start."""
    folder = os.environ.get('ROS_LOG_DIR') or (
        os.path.join(os.environ['ROS_HOME'], 'log') if os.environ.get('ROS_HOME') else
        os.path.join(os.environ['HOME'], '.ros', 'log') if os.environ.get('HOME') else '')
    try:
        Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
        writable = bool(folder) and os.access(Path(folder).expanduser(), os.W_OK)
    except (OSError, RuntimeError):
        writable = False
    if writable:
        return []
    print(f'pano_depth: no log file is written, because {folder or "HOME"!r} is '
          f'{"no folder that can be written" if folder else "not set"}; set ROS_LOG_DIR',
          file=sys.stderr)
    return ['--ros-args', '--disable-external-lib-logs']


def spin(executor: Executor, node: Any) -> None:
    """
    Serve callbacks until the context ends; one that raises is logged, and serving goes on.

    :raises Exception: the last error, if nothing but errors came for 10 s: then it is the executor
        itself that fails, and a supervisor can start a new process
    """
    complaints, served = Complaints(node.get_logger()), time.monotonic()
    while node.context.ok():
        try:
            executor.spin_once()
            served = time.monotonic()
        except ExternalShutdownException:
            return
        except Exception as error:
            if not node.context.ok():
                return
            complaints.error(f'a callback failed, serving goes on: {type(error).__name__}: {error}'
                             f'\n{traceback.format_exc()}')
            if time.monotonic() - served > DEAD_S:
                raise
            time.sleep(0.01)


def _leave_in_time() -> None:
    """End the process soon after a signal, even while a runtime is loading in C++."""
    while rclpy.ok():
        time.sleep(0.1)
    _kill_later()
    time.sleep(LEAVE_S)
    os._exit(0)


def _kill_later() -> None:
    """Have the kernel end the process if C code never gives the interpreter back."""
    signal.setitimer(signal.ITIMER_REAL, KILL_S)

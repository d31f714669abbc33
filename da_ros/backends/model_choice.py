# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Which bundle runs where none is named: the better one, where this machine is fast enough for it.

The rate is measured once per machine, bundle and runtime versions, and kept beside the engines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import hashlib
from importlib import metadata
import json
import os
from pathlib import Path
import platform
from statistics import median
import time

import numpy as np

from da_ros.backends.base import BackendError, EngineMissing
from da_ros.backends.chain import Attempt
from da_ros.bundle import Bundle, BundleError, DEFAULT_NAME, load_bundle
from da_ros.config import Config
from da_ros.engines.cache import EngineCache
from da_ros.engines.private import CacheError, make_folder, read_own, write_own
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator

BETTER, FASTER = 'pano_base', DEFAULT_NAME
WANTED_HZ = 8.0          # in service
# Camera, messages and consumers share the processor: what gave 8.4 Hz alone gave 5.3 Hz beside a
# camera of 30 Hz and a receiver on two cores.
ALONE_HZ = 1.6 * WANTED_HZ
HYSTERESIS = 0.2         # of the rate: what runs already is not given up for less
CAMERA_HW = (960, 1920)
WARM_UP, FEWEST, MEASURED_S = 2, 5, 3.0
RUNTIMES = ('openvino', 'onnxruntime', 'onnxruntime-gpu', 'tensorrt', 'tensorrt-rtx')
STORE = 'model_rates.json'


@dataclass(frozen=True)
class Choice:
    """The estimator that serves, and why it was taken."""

    estimator: RangeEstimator
    reason: str              # '' = it was named


def open_estimator(config: Config, given_up: Mapping[Attempt, str]) -> Choice:
    """
    Open the model that a configuration names, or the best for this machine where it names none.

    :param given_up: see `RangeEstimator`
    :raises DaRosError: as `RangeEstimator`, EngineMissing included
    """
    chosen, erp = config.estimator, config.erp

    def open_model(name: str) -> RangeEstimator:
        return RangeEstimator(load_bundle(name, chosen.model_signers), chosen.backend,
                              chosen.threads, config.rule,
                              (erp.elevation_min_deg, erp.elevation_max_deg), given_up)
    if chosen.model:
        return Choice(open_model(chosen.model), '')
    return open_best(open_model, chosen.backend, chosen.threads,
                     cameras=max(1, len(config.input.cameras)))


def open_best(open_model: Callable[[str], RangeEstimator], backend: str, threads: int,
              models: tuple[str, str] = (BETTER, FASTER), cameras: int = 1) -> Choice:
    """
    Open the better model if it sustains 8 Hz in service on this machine, else the faster one.

    :param open_model: opens the bundle of a name
    :param backend: what is asked for, as `threads`: another choice is measured for itself
    :param models: the better one, the faster one
    :param cameras: that take turns in it, each of which is to have that rate
    :raises EngineMissing: if an engine must be built before anything can be measured
    :raises BundleError, BackendError: if the faster one cannot be opened either
    """
    better, faster = models
    rates = Rates()
    try:
        key = identity(load_bundle(better), backend, threads, cameras)
        known = rates.fast.get(key)
        if known is not None and not known[1]:
            return Choice(open_model(faster), _reason(better, *known, cameras))
        estimator = open_model(better)
    except EngineMissing:
        raise
    except (BundleError, BackendError) as error:
        return Choice(open_model(faster), f'{better} cannot be used: {error}')
    if known is not None:
        return Choice(estimator, _reason(better, *known, cameras))
    try:
        rate_hz = sustained_hz(estimator)
    except DaRosError as error:          # also what it says is not finite
        estimator.close()
        return Choice(open_model(faster), f'{better} cannot be used: {error}')
    fast = rate_hz >= ALONE_HZ * cameras * {better: 1 - HYSTERESIS, faster: 1 + HYSTERESIS}.get(
        rates.chosen, 1.0)
    trouble = rates.keep(key, rate_hz, fast, better if fast else faster)
    reason = _reason(better, rate_hz, fast, cameras, trouble)
    if fast:
        return Choice(estimator, reason)
    estimator.close()
    return Choice(open_model(faster), reason)


def sustained_hz(estimator: RangeEstimator) -> float:
    """Return at what rate an estimator answers camera images one after the other."""
    image = np.random.default_rng(0).integers(0, 256, (*CAMERA_HW, 3), dtype=np.uint8)
    for _ in range(WARM_UP):
        estimator.predict(image)
    seconds: list[float] = []
    while len(seconds) < FEWEST or sum(seconds) < MEASURED_S:
        start = time.perf_counter()
        estimator.predict(image)
        seconds.append(time.perf_counter() - start)
    return 1 / median(seconds)


def identity(bundle: Bundle, backend: str, threads: int, cameras: int = 1) -> str:
    """Return the hash of all that the rate depends on: files, machine, runtimes, what is asked."""
    parts = [bundle.files, backend, threads, sorted(os.sched_getaffinity(0)), _processor(),
             {name: _version(name) for name in RUNTIMES}]
    if cameras > 1:          # of one camera, what earlier versions have measured is good as well
        parts.append(cameras)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Rates:
    """What was measured on this machine, in one file of the user's own."""

    def __init__(self) -> None:
        """Read the file; what is absent, damaged or another user's counts as nothing known."""
        self.fast: dict[str, tuple[float, bool]] = {}     # by identity: Hz, fast enough
        self.chosen = ''                                  # the model taken last
        self._path: Path | None = None
        self._trouble = ''
        try:
            self._path = EngineCache().folder / STORE
            stored = json.loads(read_own(self._path) or b'{}')
            self.fast = {str(key): (float(hz), bool(fast))
                         for key, (hz, fast) in stored.get('fast', {}).items()}
            self.chosen = str(stored.get('chosen', ''))
        except CacheError as error:
            self._trouble = str(error)
        except (ValueError, TypeError, AttributeError):
            self.fast, self.chosen = {}, ''

    def keep(self, key: str, rate_hz: float, fast: bool, chosen: str) -> str:
        """Add a measurement; return why it could not be kept, else ''."""
        self.fast[key], self.chosen = (rate_hz, fast), chosen
        if self._path is None:
            return self._trouble
        try:
            make_folder(self._path.parent)
            write_own(self._path, json.dumps(
                {'chosen': chosen, 'fast': self.fast}, indent=1).encode())
        except CacheError as error:
            return str(error)
        return ''


def _reason(better: str, rate_hz: float, fast: bool, cameras: int, trouble: str = '') -> str:
    asked_hz = ALONE_HZ * cameras
    beside = 'beside camera' if cameras == 1 else f'for each of {cameras} cameras beside them'
    text = (f'{better} alone gives {rate_hz:.1f} Hz on this machine, {asked_hz:g} are asked for, '
            f'so that {WANTED_HZ:g} are left {beside} and consumers')
    if fast != (rate_hz >= asked_hz):
        text += f'; what ran before stays within {HYSTERESIS:.0%}'
    return text + (f' (measured again at every start: {trouble})' if trouble else '')


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ''


def _processor() -> list[str]:
    """Return the names of processor, board and GPUs, as far as the kernel tells them."""
    told = [platform.machine()]
    for path, marks in ((Path('/proc/cpuinfo'), ('model name', 'CPU part')),
                        (Path('/proc/device-tree/model'), ('',)),
                        *((path, ('Model',)) for path in sorted(
                            Path('/proc/driver/nvidia/gpus').glob('*/information')))):
        try:
            lines = path.read_text(errors='replace').splitlines()
        except OSError:
            continue
        told += sorted({line for line in lines if line.startswith(marks)})
    return told

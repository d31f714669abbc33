# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Build TensorRT engines beforehand, prove them, and look after their cache.

    da_ros_engine build --bundle bundles/dap_vitl --precision fp16
    da_ros_engine check --bundle bundles/dap_vitl --json
    da_ros_engine list
    da_ros_engine clear --backend tensorrt

`build` builds what is missing and runs the bundle's self-check twenty times; `check` only the
latter. An engine that has not passed on this device is never used. Without --bundle, build and
check take the default bundle, list and clear every engine.

Exit codes: 0 proven (list, clear: done), 1 an error or a refused engine, 2 wrong arguments, 3
built but not proven, because there is no device.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
import json
import sys
import time

import cv2
import numpy as np

from da_ros import gate
from da_ros.backends.base import (
    Backend,
    BackendError,
    feeds_for,
    RUNS_AFTER_BUILD,
)
from da_ros.backends.cuda import device_identity, NO_DEVICE
from da_ros.backends.order import open_backend
from da_ros.bundle import Bundle, load_bundle, PRECISIONS
from da_ros.commands.foreground import build_in_foreground
from da_ros.engines import jobs_for
from da_ros.engines.cache import EngineCache, Entry
from da_ros.engines.library import INSTALL, load_library, MODULES
from da_ros.engines.worker import EngineBuild
from da_ros.errors import DaRosError
from da_ros.onnx_files import graph_digest

PROVEN, NOT_PROVEN, REFUSED = 'proven', 'built, not proven', 'refused'
EXIT_CODES = {PROVEN: 0, NOT_PROVEN: 3, REFUSED: 1}
TIMED_RUNS = 100
COLUMNS = {'backend': 'backend', 'precision': 'precision', 'size_mb': 'MB', 'build_s': 'build s',
           'p50_ms': 'p50 ms', 'p99_ms': 'p99 ms', 'relative_error_p99': 'p99 error',
           'scale': 'scale', 'mask_agreement': 'mask', 'state': 'state'}


@dataclass
class Row:
    """What is told of the engines of one precision; None = not known."""

    bundle: str
    backend: str
    precision: str
    state: str = REFUSED
    reason: str = ''
    size_mb: float | None = None
    build_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    relative_error_p99: float | None = None
    scale: float | None = None
    mask_agreement: float | None = None
    runs: int | None = None


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; see above for what it returns."""
    options = _arguments(args)
    try:
        if options.command in ('build', 'check'):
            return _build_or_check(options)
        return (_list if options.command == 'list' else _clear)(options)
    except (DaRosError, OSError) as error:
        print(f'da_ros_engine: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:            # the build under way has been ended
        print('da_ros_engine: interrupted', file=sys.stderr)
        return 1


def _build_or_check(options: argparse.Namespace) -> int:
    bundle = load_bundle(options.bundle or None)
    for precision in options.precision or ():
        bundle.graphs_in(precision)
    rows = []
    for backend in _backends(options.backend):
        for precision in options.precision or bundle.precisions:
            row = Row(bundle.name, backend, precision)
            try:
                _fill(row, bundle, options.command == 'build')
            except BackendError as error:
                row.state, row.reason = REFUSED, str(error)
            rows.append(row)
    _print_rows(rows, options.json)
    codes = {EXIT_CODES[row.state] for row in rows}
    return next(code for code in (1, 3, 0) if code in codes)


def _backends(name: str | None) -> list[str]:
    if name:
        return [name]
    installed = [name for name, modules in MODULES.items() if any(map(find_spec, modules))]
    if not installed:
        ways = '; '.join(f'for {name} {how}' for name, how in INSTALL.items())
        raise BackendError(f'no TensorRT is installed: {ways}')
    return installed


def _fill(row: Row, bundle: Bundle, build: bool) -> None:
    """Build where that is wanted, prove where there is a device, and measure."""
    device = device_identity()
    if device != NO_DEVICE:                   # before a build in vain
        load_library(row.backend).check_device(device)
    cache, jobs = EngineCache(), jobs_for(bundle, row.backend, row.precision)
    missing = cache.missing(jobs)
    if missing and not build:
        names = ', '.join(job.name for job in missing)
        raise BackendError(f'{names} is not built; run `da_ros_engine build`')
    if missing:
        error = build_in_foreground(EngineBuild(missing, cache))
        if error:
            raise BackendError(error)
    entries = [entry for entry in map(cache.entry, jobs) if entry]
    row.size_mb = round(sum(entry.size_bytes for entry in entries) / 1e6, 1)
    row.build_s = round(sum(entry.build_s for entry in entries), 1)
    if device == NO_DEVICE:
        row.state, row.reason = NOT_PROVEN, 'no CUDA device'
        return
    backend = open_backend(row.backend, bundle, row.precision)
    try:
        report = gate.prove(backend, bundle, RUNS_AFTER_BUILD)
        row.state, row.reason = PROVEN, backend.warning
        row.relative_error_p99, row.scale = report.relative_error_p99, report.scale
        row.mask_agreement, row.runs = report.mask_agreement, report.runs
        row.p50_ms, row.p99_ms = _latency_ms(backend, bundle)
    finally:
        backend.close()


def _latency_ms(backend: Backend, bundle: Bundle) -> tuple[float, float]:
    """Return p50 and p99 of a run, image in and outputs out, largest range mask [ms]."""
    stored = bundle.self_checks[0]
    image = np.asarray(cv2.imread(str(bundle.folder / stored.image)), np.uint8)
    feeds = feeds_for(bundle, image, stored.camera_height_m)
    mask_m, times = bundle.select_mask(-1), []
    for _ in range(TIMED_RUNS):
        begun = time.perf_counter()
        backend.run(feeds, mask_m)
        times.append(1e3 * (time.perf_counter() - begun))
    return round(float(np.median(times)), 3), round(float(np.quantile(times, 0.99)), 3)


def _print_rows(rows: list[Row], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print(f'bundle {rows[0].bundle}')
    _print_table([list(COLUMNS.values())] + [
        [_text(getattr(row, name)) for name in COLUMNS] for row in rows])
    for row in rows:
        if row.reason:
            print(f'{row.backend} {row.precision}: {row.reason}')


def _list(options: argparse.Namespace) -> int:
    entries = list(_chosen(options))
    if options.json:
        print(json.dumps([asdict(entry) | {'proven': entry.proven} for entry in entries],
                         indent=1))
        return 0
    cache = EngineCache()
    if not entries:
        print(f'no such engine in {cache.folder}' if cache.entries() else
              f'no engine in {cache.folder}')
        return 0
    _print_table([['engine', 'backend', 'precision', 'version', 'GPU', 'MB', 'build s', 'state']]
                 + [[entry.name, *(entry.ingredients[name] for name in
                                   ('backend', 'precision', 'version', 'gpu')),
                     _text(round(entry.size_bytes / 1e6, 1)), _text(entry.build_s), _state(entry)]
                    for entry in entries])
    return 0


def _clear(options: argparse.Namespace) -> int:
    everything = not (options.bundle or options.backend or options.precision)
    keys = [entry.key for entry in _chosen(options)]
    freed = EngineCache().clear(None if everything else keys)
    if options.json:
        print(json.dumps({'engines': len(keys), 'freed_bytes': freed}))
    else:
        print(f'{len(keys)} engines removed, {freed / 1e6:.1f} MB freed')
    return 0


def _chosen(options: argparse.Namespace) -> Iterator[Entry]:
    """Yield the engines of the cache that the options name."""
    graphs = None
    if options.bundle:
        bundle = load_bundle(options.bundle)
        known = {bundle.folder / name: digest for name, digest in bundle.files.items()}
        graphs = {graph_digest(path, known) for path in known if path.suffix == '.onnx'}
    for entry in EngineCache().entries():
        has = entry.ingredients
        if ((graphs is None or has['onnx'] in graphs)
                and options.backend in (None, has['backend'])
                and (not options.precision or has['precision'] in options.precision)):
            yield entry


def _state(entry: Entry) -> str:
    if entry.failure:
        return f'failed: {entry.failure}'
    if entry.check and not entry.proven:
        return f'refused: {entry.check["report"]}'
    return PROVEN if entry.proven else NOT_PROVEN


def _text(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return '-' if value is None else str(value)


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def _arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='da_ros_engine', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=['build', 'check', 'list', 'clear'])
    parser.add_argument('--bundle', default='', metavar='FOLDER',
                        help='bundle, or the name of one that ships')
    parser.add_argument('--backend', choices=list(MODULES), default=None,
                        help='default: those that are installed')
    parser.add_argument('--precision', nargs='+', choices=PRECISIONS, default=None,
                        help='default: all of the bundle')
    parser.add_argument('--json', action='store_true', help='JSON instead of a table')
    return parser.parse_args(args)


if __name__ == '__main__':
    sys.exit(main())

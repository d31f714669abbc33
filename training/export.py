# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Turn a checkpoint into a bundle for the robot.

Examples::

    python -m training.export --checkpoint runs/tiny/checkpoint.safetensors --out bundles/mine
    python -m training.export --checkpoint model.pth --network dap --out bundles/dap_vitl
    python -m training.export --checkpoint model.safetensors --network da2 --out bundles/da2
    python -m training.export --checkpoint runs/small --weights int8 --out bundles/small
    python -m training.export --bundle bundles/dap_vitl --also fp16
    python -m training.export --bundle bundles/mine --precision fp16 --out bundles/mine_fp16
    python -m training.export --bundle bundles/dap_vitl --add-head head_20.safetensors
    python -m training.export --bundle bundles/dap_vitl --remove-head 20

The checkpoint is read strictly, the network written as ONNX, compared with torch, converted to the
precision asked for, opened as the robot will open it, and only then put in its place.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
import json
import os
from pathlib import Path
import re
import shutil
import sys

from da_ros.bundle import (
    Bundle,
    Graphs,
    load_bundle,
    MANIFEST,
    SelfCheck,
    write_manifest,
)
from da_ros.errors import DaRosError
from da_ros.gate import GateReport
from training.bundling.graph import ExportError, GraphSet, make_graphs, Options, write_graph
from training.bundling.heads import add_head, copy_bundle, copy_the_rest, remove_head, trunk_sha256
from training.bundling.parity import (
    check_parity,
    feeds,
    parity_text,
    SELF_CHECK_IMAGES,
    store_weights,
)
from training.bundling.requantise import requantise
from training.bundling.self_check import CAMERA_HEIGHTS_M, read_panoramas, write_self_check
from training.bundling.variants import (
    add_variants,
    calibration_folder,
    CALIBRATION_IMAGES,
    calibration_images,
    convert,
)
from training.checkpoints.checkpoint import build, Checkpoint, load_checkpoint
from training.checkpoints.reading import read_checkpoint
from training.run.progress import Progress

LICENCES = {
    'dap': 'code MIT; encoder weights under the DINOv3 License',
    'da2': 'Apache-2.0',
}


@dataclass(frozen=True)
class Request:
    """What to export and how."""

    checkpoint: Checkpoint
    out: Path
    options: Options = field(default_factory=Options)
    precision: str = 'fp32'              # fp32 | fp16 | int8
    weights: str = 'float'               # float | int8: how an fp32 graph stores them
    panoramas: Path | None = None        # for self-check and calibration; None = a drawn room
    name: str = ''                       # empty = that of the folder
    licence: str = ''
    overwrite: bool = False
    accuracy: list = field(default_factory=list)
    also: tuple[str, ...] = ()           # further precisions beside fp32


def export(request: Request) -> Bundle:
    """
    Write a bundle; its folder appears complete or not at all.

    :raises DaRosError: if the network cannot run so, a graph differs from torch, or the bundle
        does not pass its own self-check
    """
    checkpoint = request.checkpoint
    graphs = make_graphs(build(checkpoint), request.options)
    with new_folder(request.out, request.overwrite) as folder, Progress() as progress:
        for graph in (graphs.main, *graphs.masks.values()):
            progress(f'export {graph.file}')
            write_graph(graph, folder)
        progress('self-check against torch')
        images = read_panoramas(request.panoramas, graphs.size_hw, graphs.resize,
                                SELF_CHECK_IMAGES + CALIBRATION_IMAGES)
        cases, parity = check_parity(graphs, folder, images)
        stored = None
        unseen = calibration_images(images, [image for image, *_ in cases],
                                    (request.precision, *request.also))
        if request.weights == 'int8':
            progress('store weights in 8 bits')
            cases, stored = store_weights(graphs, folder, cases)
        checks = tuple(write_self_check(folder, index, *case) for index, case in enumerate(cases))
        progress(f'convert to {request.precision}')
        convert(Graphs(folder / graphs.main.file,
                       {t: folder / graph.file for t, graph in graphs.masks.items()}),
                request.precision, [feeds(graphs, image, height_m) for image, height_m
                                    in zip(unseen, cycle(CAMERA_HEIGHTS_M))])
        write_manifest(describe(request, graphs, folder, checks, parity, stored))
        progress('open as the robot does')
        open_as_robot(folder)
        if request.also:
            add_variants(folder, request.also, unseen)
    if stored:
        print(f'weights in 8 bits against float: {stored}')
    print(f'{request.out}: {parity_text(parity)}')
    return load_bundle(request.out)


def describe(request: Request, graphs: GraphSet, folder: Path, checks: tuple[SelfCheck, ...],
             parity: dict[str, float], stored: GateReport | None) -> Bundle:
    """Return what model.yaml will say."""
    checkpoint, options = request.checkpoint, request.options
    provenance = dict(checkpoint.provenance) | {
        'network': checkpoint.network, 'config': checkpoint.config,
        'onnxruntime_against_torch': parity}
    if checkpoint.network == 'dap':
        provenance |= {'preprocessing': options.preprocessing,
                       'trunk_sha256': trunk_sha256(checkpoint.state)}
    if checkpoint.network == 'da2':
        provenance['sphere'] = options.sphere
    if options.wrap_padding:
        provenance['padding'] = 'wrap'
    if stored:
        provenance['int8_weights_against_float'] = str(stored)
    return Bundle(
        folder=folder, name=request.name or request.out.name, kind=graphs.kind,
        precision=request.precision,
        licence=request.licence or LICENCES.get(checkpoint.network, 'Apache-2.0'),
        size_hw=graphs.size_hw, resize=graphs.resize,
        uses_camera_height=graphs.uses_camera_height,
        metres_per_unit=1.0 if graphs.kind == 'metric' else None,
        max_range_m=graphs.max_range_m, output_quantile=graphs.output_quantile,
        range_masks_m=graphs.range_masks_m, graphs={request.precision: Graphs(
            folder / graphs.main.file,
            {t: folder / graph.file for t, graph in sorted(graphs.masks.items())})},
        self_checks=checks, files={}, provenance=provenance, accuracy=request.accuracy)


def open_as_robot(folder: Path) -> None:
    """
    Open a bundle in onnxruntime with the gate that the robot uses.

    :raises DaRosError: if it is not readable or departs from its stored outputs
    """
    from da_ros.estimator import RangeEstimator
    estimator = RangeEstimator(folder, backend='onnxruntime')
    print(f'self-check: {estimator.report}')


@contextmanager
def new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """
    Give a temporary folder that becomes `out` at the end, or vanishes with an error.

    :raises ExportError: if `out` exists and may not be replaced
    """
    if out.exists() and not overwrite:
        raise ExportError(f'{str(out)!r} exists; give another --out, or --overwrite')
    if out.exists() and not (out / MANIFEST).is_file():
        raise ExportError(f'{str(out)!r} is not a bundle and will not be overwritten')
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f'.{out.name}.part{os.getpid()}')
    old = out.with_name(f'.{out.name}.old{os.getpid()}')
    try:
        temporary.mkdir()
        yield temporary
        if out.exists():
            out.rename(old)
        temporary.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def read_rows(path: Path) -> list:
    """
    Return the rows of an accuracy table.

    :raises ExportError: if the file is no JSON list
    """
    try:
        rows = json.loads(path.read_text())
    except ValueError as error:
        raise ExportError(f'{str(path)!r} is not JSON ({error})') from error
    if not isinstance(rows, list):
        raise ExportError(f'{str(path)!r} holds {type(rows).__name__}, not a list of rows')
    return rows


def size_argument(text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as 512x1024."""
    if not (match := re.fullmatch(r'(\d+)x(\d+)', text)):
        raise argparse.ArgumentTypeError(f'{text!r} is not HEIGHTxWIDTH, e.g. 512x1024')
    return int(match[1]), int(match[2])


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m training.export', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', type=Path, help='our .safetensors, or a released file')
    parser.add_argument('--network', choices=['dap', 'da2', 'pano_tiny'],
                        help='which network a released file holds; ours know theirs')
    parser.add_argument('--out', type=Path, help='bundle folder to make')
    parser.add_argument('--size', type=size_argument, metavar='HEIGHTxWIDTH',
                        help='network size [px]; default 512x1024 (dap), 546x1092 (da2)')
    parser.add_argument('--precision', choices=['fp32', 'fp16', 'int8'], default='fp32')
    parser.add_argument('--weights', choices=['float', 'int8'], default='float',
                        help='int8: store the large weights of an fp32 graph in 8 bits, a quarter '
                        'of a large file; the arithmetic stays (default float)')
    parser.add_argument('--also', action='extend', nargs='+', choices=['fp16', 'int8'], default=[],
                        help='further precisions beside fp32, for TensorRT; also with --bundle')
    parser.add_argument('--preprocessing', choices=['eval', 'infer'], default='eval',
                        help='dap: ImageNet-normalised as in its evaluation, or not, as in its '
                        'infer script (default eval)')
    parser.add_argument('--sphere', choices=['released', 'image'], default='released',
                        help='da2: viewing directions as released, or of the true image size')
    parser.add_argument('--wrap-padding', action='store_true',
                        help='released weights: close the seam in the convolution heads')
    parser.add_argument('--panoramas', type=Path,
                        help='folder of panoramas for self-check and int8 calibration')
    parser.add_argument('--name', default='', help='name in model.yaml; default the folder name')
    parser.add_argument('--licence', default='', help='licence in model.yaml')
    parser.add_argument('--accuracy', type=Path, help='JSON list of rows for the accuracy table')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing bundle')
    parser.add_argument('--bundle', type=Path,
                        help='existing bundle, with --also, with --out and --precision, or with '
                        'one of the next two')
    parser.add_argument('--add-head', type=Path, metavar='CHECKPOINT',
                        help='attach a range-mask head trained on the same encoder')
    parser.add_argument('--remove-head', type=float, metavar='METRES',
                        help='detach the range-mask head of this threshold')
    return parser


CALLS = {       # what makes a kind of call, the first that fits, and what else it looks at
    ('checkpoint',): {'network', 'out', 'size', 'precision', 'weights', 'also', 'preprocessing',
                      'sphere', 'wrap_padding', 'panoramas', 'name', 'licence', 'accuracy',
                      'overwrite'},
    ('bundle', 'out'): {'precision', 'panoramas', 'name', 'overwrite'},
    ('bundle', 'also'): {'panoramas'},
    ('bundle', 'add_head'): set(),
    ('bundle', 'remove_head'): set(),
}


def check_together(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Exit with usage where an option is given that this kind of call would not look at."""
    given = {name for name, value in vars(arguments).items() if value != parser.get_default(name)}
    for kind, others in CALLS.items():
        if given >= set(kind):
            if extra := sorted(given - set(kind) - others):
                parser.error(f'with {options(kind)}, leave away {options(extra)}')
            return
    parser.error('give --checkpoint and --out, or --bundle and one of --also, --add-head, '
                 '--remove-head, or --out with --precision')


def options(names: Iterable[str]) -> str:
    """Return options as one types them."""
    return ' and '.join(f'--{name.replace("_", "-")}' for name in names)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """
    Do what the command line says.

    :raises DaRosError: on anything that the user can mend
    """
    check_together(arguments, parser)
    if 'int8' in (arguments.precision, *arguments.also) and not arguments.panoramas:
        raise ExportError('int8 is calibrated on pictures of your camera; give --panoramas DIR')
    if arguments.weights == 'int8' and 'int8' in (arguments.precision, *arguments.also):
        raise ExportError('--weights int8 stores the weights of float arithmetic in 8 bits, int8 '
                          'arithmetic has them so by itself; leave --weights away')
    if arguments.bundle:
        bundle = load_bundle(arguments.bundle)
        if not arguments.out and not arguments.bundle.is_dir():
            raise ExportError(f'{str(arguments.bundle)!r} ships with da_ros and is not changed in '
                              f'place; copy {bundle.folder} and give the copy')
        with new_folder(arguments.out or arguments.bundle,
                        arguments.overwrite or not arguments.out) as folder:
            change(bundle, arguments, folder)
            open_as_robot(folder)
        return
    if not arguments.out:
        parser.error('--checkpoint needs --out')
    if arguments.out.exists() and not arguments.overwrite:
        raise ExportError(f'{str(arguments.out)!r} exists; give another --out, or --overwrite')
    accuracy = read_rows(arguments.accuracy) if arguments.accuracy else []
    export(Request(
        read_checkpoint(arguments.checkpoint, arguments.network), arguments.out,
        Options(arguments.size, arguments.preprocessing, arguments.sphere,
                arguments.wrap_padding),
        arguments.precision, arguments.weights, arguments.panoramas, arguments.name,
        arguments.licence, arguments.overwrite, accuracy, tuple(arguments.also)))


def change(bundle: Bundle, arguments: argparse.Namespace, folder: Path) -> None:
    """Write into a folder what becomes of a bundle that exists."""
    if arguments.out:
        requantise(bundle, arguments.precision, calibration_folder(
            arguments.panoramas, bundle, [arguments.precision]),
            folder, arguments.name or arguments.out.name)
        return
    if arguments.add_head:
        add_head(bundle, load_checkpoint(arguments.add_head), folder)
    elif arguments.remove_head is not None:
        remove_head(bundle, arguments.remove_head, folder)
    else:
        copy_bundle(bundle, folder)
        add_variants(folder, arguments.also,
                     calibration_folder(arguments.panoramas, bundle, arguments.also))
    copy_the_rest(bundle, folder)


def main() -> None:
    """Run the command; a known error is one line and exit code 1."""
    parser = make_parser()
    arguments = parser.parse_args()
    try:
        run(arguments, parser)
    except (DaRosError, OSError) as error:
        print(f'error: {error}', *getattr(error, 'details', ()), sep='\n  ', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()

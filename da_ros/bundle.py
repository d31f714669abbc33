# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The bundle: a folder with `model.yaml` and ONNX graphs, the one contract with training.

`model.yaml` (format 1)::

    format: 1
    name: pano_tiny
    kind: metric                  # metric | scale_invariant
    precision: fp32               # fp32 | fp16 | int8
    licence: Apache-2.0
    provenance: {...}             # free: checkpoint sha256, commit, data list, preprocessing
    input: {size_hw: [256, 512], resize: area, camera_height: true}
    metres_per_unit: 1.0          # of range_m; null for scale_invariant
    max_range_m: 100.0            # null for scale_invariant
    output_quantile: null         # scale_invariant: range is divided by this quantile of itself
    range_masks_m: [10, 20, 50, 100]
    graphs:
      main: model.onnx
      range_masks: {}             # {100: mask_100.onnx} where the heads are separate graphs
    variants: {}                  # {fp16: {main: ..., range_masks: ...}}: the same network in
                                  # further precisions, for runtimes that read theirs from it
    accuracy: []                  # rows of the stored accuracy table
    self_check:
      - {image: self_check/0.png, camera_height_m: 0.0, expected: self_check/0.npz}
    files: {model.onnx: <sha256>, ...}   # every file that the lines above name, and those that
                                         # a graph takes its weights from

Main graph, in: `image` uint8 (H, W, 3) BGR, and `camera_height_m` float32 (1,) if
`input.camera_height`; out: `range_m` (H, W) float32 and, where the heads share the trunk,
`range_mask_probability` (K, H, W) = P(true range <= T) in the order of `range_masks_m`. Separate
heads take the main graph's outputs `features_0`, ... and give `range_mask_probability` (1, H, W).
The expected outputs are float32 arrays `range_m` and `range_mask_probability` (K, H, W); all
precisions are compared with them. `variants` did not need another format: a reader that does not
know it checks every file and runs `graphs`, which is right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import resources
import os
from pathlib import Path
from typing import Any

from da_ros.documents import (
    check_signature,
    DocumentError,
    Fields,
    read_bytes,
    SignatureError,
    yaml_of,
    yaml_text,
)
from da_ros.errors import DaRosError
from da_ros.onnx_files import external_files, sha256_of

FORMAT = 1
KINDS = ('metric', 'scale_invariant')
PRECISIONS = ('fp32', 'fp16', 'int8')      # from the most exact to the fastest
RESIZES = ('area', 'linear', 'cubic')
DEFAULT_NAME = 'pano_tiny'
MANIFEST = 'model.yaml'
LARGEST_HEIGHT = 8192                      # px; of a network
LONGEST_NAME = 255


class BundleError(DaRosError):
    """A bundle that is missing, damaged or of a shape that this version does not read."""


@dataclass(frozen=True)
class SelfCheck:
    """One stored panorama and what the network must say about it."""

    image: str                # PNG at network size, BGR when read
    expected: str             # npz: range_m, range_mask_probability
    camera_height_m: float = 0.0


@dataclass(frozen=True)
class Graphs:
    """The ONNX files of one precision; `range_masks` has those heads that are separate."""

    main: Path
    range_masks: dict[float, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """What `model.yaml` says, checked; paths are absolute below `folder`."""

    folder: Path
    name: str
    kind: str
    precision: str
    licence: str
    size_hw: tuple[int, int]
    resize: str
    uses_camera_height: bool
    metres_per_unit: float | None
    max_range_m: float | None
    output_quantile: float | None
    range_masks_m: tuple[float, ...]
    graphs: dict[str, Graphs]           # by precision; `precision` is that of the network itself
    self_checks: tuple[SelfCheck, ...]
    files: dict[str, str]
    provenance: dict[str, Any] = field(default_factory=dict)
    accuracy: list[Any] = field(default_factory=list)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions for which there are graphs, the fastest first."""
        return tuple(precision for precision in reversed(PRECISIONS) if precision in self.graphs)

    @property
    def own(self) -> Graphs:
        """The graphs of the network itself, of which the other precisions are conversions."""
        return self.graphs[self.precision]

    def graphs_in(self, precision: str) -> Graphs:
        """
        Return the graphs of one precision.

        :raises BundleError: if the bundle has none; lists those it has
        """
        if precision not in self.graphs:
            raise BundleError(
                f'bundle {self.name!r} has no {precision} graphs, only '
                f'{", ".join(self.precisions)}; add them with `python -m training.export '
                f'--bundle {self.folder} --also {precision}`')
        return self.graphs[precision]

    def select_mask(self, range_mask_m: float) -> float:
        """
        Return the range-mask threshold that a request means.

        :param range_mask_m: [m]; -1 = the largest of the bundle (0 where it has none), 0 = off
        :return: one of `range_masks_m`, or 0.0 for off
        :raises BundleError: if the bundle has no such mask; lists those it has
        """
        # Refused, not rounded: the next one down would publish obstacles as empty.
        if range_mask_m == -1:
            return max(self.range_masks_m, default=0.0)
        if range_mask_m == 0 or range_mask_m in self.range_masks_m:
            return float(range_mask_m)
        known = ', '.join(f'{t:g}' for t in self.range_masks_m) or 'no range mask'
        raise BundleError(
            f'range_mask_m {range_mask_m:g} is not in bundle {self.name!r}, which has {known}; '
            'use one of these, 0 for off or -1 for the largest')


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the bundles that ship with the package, by name."""
    folder = Path(str(resources.files('da_ros'))) / 'bundles'
    return {path.parent.name: path.parent for path in sorted(folder.glob(f'*/{MANIFEST}'))}


def load_bundle(folder: str | Path | None = None, signers: str | Path = '') -> Bundle:
    """
    Read and check a bundle; every named file must be there and have its stored sha256.

    :param folder: the bundle's folder, or the name of one that ships with the package (a folder
        of that name goes first); None or '' = the default bundle
    :param signers: file of the allowed signers, one of whom must have signed a bundle that does
        not ship with the package; '' = not asked
    :raises BundleError: naming the file and the remedy; nothing is loaded by halves
    """
    path, own = _find(folder)
    try:
        bundle = _parse(path, _read_manifest(path, '' if own else signers))
        check_files(bundle)
    except SignatureError as error:
        raise BundleError(str(error)) from error
    except DocumentError as error:
        raise BundleError(f'{error}; restore it, or re-export with `python -m training.export`'
                          ) from error
    except OSError as error:
        raise BundleError(f'bundle {path} cannot be read: {error}') from error
    return bundle


def _find(folder: str | Path | None) -> tuple[Path, bool]:
    """Return where a bundle lies, and whether it ships with the package."""
    path, shipped = Path(folder or DEFAULT_NAME), shipped_bundles()
    try:
        path = Path(os.path.expanduser(path))
        if not folder or not path.is_dir():
            path = shipped.get(str(path), path)
        return path, path.resolve() in [other.resolve() for other in shipped.values()]
    except (OSError, RuntimeError, ValueError) as error:    # too long; a loop; a zero in it
        raise BundleError(f'bundle {str(path)!r} cannot be read: {error}') from error


def write_manifest(bundle: Bundle) -> None:
    """
    Write `model.yaml` for files that already lie in `bundle.folder`, hashing each of them.

    :raises BundleError: if a named file is missing or the result would not load
    """
    names: list[str] = []
    for found in (_named_files, _weight_files):       # the latter reads the former
        names += found(bundle)
        for name in names:
            if not (bundle.folder / name).is_file():
                raise BundleError(f'bundle file {bundle.folder / name} is missing; write it first')
    manifest = {
        'format': FORMAT, 'name': bundle.name, 'kind': bundle.kind,
        'precision': bundle.precision, 'licence': bundle.licence,
        'provenance': bundle.provenance,
        'input': {'size_hw': list(bundle.size_hw), 'resize': bundle.resize,
                  'camera_height': bundle.uses_camera_height},
        'metres_per_unit': bundle.metres_per_unit, 'max_range_m': bundle.max_range_m,
        'output_quantile': bundle.output_quantile,
        'range_masks_m': list(bundle.range_masks_m),
        'graphs': _graph_names(bundle, bundle.own),
        'variants': {precision: _graph_names(bundle, graphs)
                     for precision, graphs in bundle.graphs.items()
                     if precision != bundle.precision},
        'accuracy': bundle.accuracy,
        'self_check': [asdict(check) for check in bundle.self_checks],
        'files': {name: sha256_of(bundle.folder / name) for name in names}}
    # In one step: after a crash the old manifest is there, not half of a new one.
    temporary = bundle.folder / (MANIFEST + '.part')
    temporary.write_text(yaml_text(manifest), encoding='utf-8')
    temporary.replace(bundle.folder / MANIFEST)
    load_bundle(bundle.folder)


def _read_manifest(path: Path, signers: str | Path) -> Fields:
    if not path.is_dir():
        raise BundleError(f'bundle folder {path} does not exist; give the folder that holds '
                          f'{MANIFEST}, one that ships with da_ros ({", ".join(shipped_bundles())}'
                          '), or make one with `python -m training.export`')
    file = _inside(path, MANIFEST)
    if not file.is_file():
        raise BundleError(f'{path} has no {MANIFEST}, so it is not a bundle; make one with '
                          '`python -m training.export`')
    content = read_bytes(file)
    if signers:                       # of what is read below, not of what lies there by then
        check_signature(content, file, Path(os.path.expanduser(signers)))
    manifest = yaml_of(content, file)
    found = manifest.get('format') if isinstance(manifest, dict) else type(manifest).__name__
    if found != FORMAT or isinstance(found, bool):
        raise BundleError(f'{file} has bundle format {found!r:.40}, this version reads {FORMAT}; '
                          're-export with `python -m training.export`')
    return Fields(manifest, str(file))


def _parse(path: Path, manifest: Fields) -> Bundle:
    image = manifest.fields('input')
    precision = manifest.take('precision', str)
    variants = manifest.fields('variants', {})
    bundle = Bundle(
        folder=path.absolute(), name=manifest.take('name', str), kind=manifest.take('kind', str),
        precision=precision, licence=manifest.take('licence', str),
        size_hw=(*image.listed('size_hw', int),), resize=image.take('resize', str),
        uses_camera_height=image.take('camera_height', bool),
        metres_per_unit=manifest.take('metres_per_unit', float, None),
        max_range_m=manifest.take('max_range_m', float, None),
        output_quantile=manifest.take('output_quantile', float, None),
        range_masks_m=tuple(manifest.listed('range_masks_m', float)),
        graphs={precision: _graphs(path, manifest.fields('graphs'))},
        self_checks=tuple(
            SelfCheck(check.take('image', str), check.take('expected', str),
                      check.take('camera_height_m', float, 0.0))
            for check in (Fields(values, f'{path / MANIFEST}: self_check[{index}]')
                          for index, values in enumerate(manifest.take('self_check', list, [])))),
        files=manifest.mapped('files', str, str),
        provenance=manifest.take('provenance', dict, {}),
        accuracy=manifest.take('accuracy', list, []))
    _check_variants(bundle, list(variants.values))
    bundle.graphs.update({name: _graphs(path, variants.fields(name)) for name in variants.values})
    _check_values(bundle)
    return bundle


def _graphs(path: Path, named: Fields) -> Graphs:
    heads = named.mapped('range_masks', float, str, {})
    return Graphs(_inside(path, named.take('main', str)),
                  {t: _inside(path, name) for t, name in heads.items()})


def _graph_names(bundle: Bundle, graphs: Graphs) -> dict[str, Any]:
    return {'main': _relative(bundle, graphs.main),
            'range_masks': {t: _relative(bundle, p) for t, p in graphs.range_masks.items()}}


def _check_variants(bundle: Bundle, variants: list[Any]) -> None:
    if not all(name in PRECISIONS and name != bundle.precision for name in variants):
        _refuse(bundle, f'variants {variants!r:.60} are not {PRECISIONS} beside precision '
                        f'{bundle.precision!r}')


def _check_values(bundle: Bundle) -> None:
    size, metric = bundle.size_hw, bundle.kind == 'metric'
    masks, heads = list(bundle.range_masks_m), sorted(bundle.own.range_masks)
    most_m, unit_m, quantile = bundle.max_range_m, bundle.metres_per_unit, bundle.output_quantile
    rules = (
        (bundle.name.isprintable() and 0 < len(bundle.name) <= LONGEST_NAME,
         f'name {bundle.name!r:.60} is not one line of at most {LONGEST_NAME} characters'),
        (bundle.kind in KINDS, f'kind {bundle.kind!r:.60} is none of {KINDS}'),
        (bundle.precision in PRECISIONS,
         f'precision {bundle.precision!r:.60} is not {PRECISIONS}'),
        (bundle.resize in RESIZES, f'resize {bundle.resize!r:.60} is none of {RESIZES}'),
        (len(size) == 2 and 0 < size[0] <= LARGEST_HEIGHT and size[1] == 2 * size[0],
         f'input.size_hw {size!s:.60} is not 1:2, or higher than {LARGEST_HEIGHT}'),
        ((most_m is None and not metric) or (most_m is not None and most_m > 0),
         f'max_range_m {most_m} must be positive for a metric bundle'),
        ((unit_m is None and not metric) or (unit_m is not None and unit_m > 0),
         f'metres_per_unit {unit_m} must be positive for a metric bundle'),
        (quantile is None or 0 < quantile <= 1,
         f'output_quantile {quantile} is not null or in (0, 1]'),
        (masks == sorted(set(masks)) and all(t > 0 for t in masks),
         f'range_masks_m {masks!s:.60} must be positive and rising'),
        (not heads or heads == masks,
         f'graphs.range_masks {heads} differ from range_masks_m {masks}'),
        (all(set(graphs.range_masks) == set(heads) for graphs in bundle.graphs.values()),
         f'variants {list(bundle.graphs)[1:]} have not the range_masks of graphs, {heads}'))
    for holds, message in rules:
        if not holds:
            _refuse(bundle, message)


def _refuse(bundle: Bundle, message: str) -> None:
    raise BundleError(f'{bundle.folder / MANIFEST}: {message}; re-export with '
                      '`python -m training.export`')


def _graph_paths(bundle: Bundle) -> list[Path]:
    return [path for graphs in map(bundle.graphs_in, bundle.precisions)
            for path in (graphs.main, *graphs.range_masks.values())]


def _named_files(bundle: Bundle) -> list[str]:
    return [*(_relative(bundle, path) for path in _graph_paths(bundle)),
            *(name for check in bundle.self_checks for name in (check.image, check.expected))]


def _weight_files(bundle: Bundle) -> list[str]:
    """Return the files that the graphs take their weights from, which must be there and hashed."""
    found = []
    for graph in _graph_paths(bundle):
        try:
            beside = external_files(graph)
        except ValueError as error:
            raise BundleError(f'bundle file {error}; restore it or re-export') from error
        # ONNX counts from the graph's own folder.
        within = graph.parent.absolute().relative_to(bundle.folder.absolute())
        found += [_relative(bundle, _inside(bundle.folder, (within / name).as_posix()))
                  for name in beside]
    return sorted(set(found))


def _relative(bundle: Bundle, path: Path) -> str:
    try:
        return path.absolute().relative_to(bundle.folder.absolute()).as_posix()
    except ValueError as error:
        raise BundleError(f'graph {path} lies outside bundle {bundle.folder}; put it '
                          'inside') from error


def _inside(folder: Path, name: str) -> Path:
    """Return a file of a bundle; what was checked must be what lies there, not behind a link."""
    path = folder.absolute() / name
    if not name.isprintable() or len(name) > LONGEST_NAME:
        raise BundleError(f'bundle {folder} names {name!r:.80}, which is no name of a file')
    if (Path(name).is_absolute() or '..' in Path(name).parts
            or not path.resolve().is_relative_to(folder.resolve())):
        raise BundleError(f'bundle {folder} names {name!r:.80} outside its own folder (or leads '
                          'there by a link); refused')
    return path


def check_files(bundle: Bundle) -> None:
    """
    Raise BundleError unless every file of a loaded bundle is there and has its sha256.

    :raises BundleError: naming the first that has not
    """
    checked: set[str] = set()
    # Twice: what a graph names beside itself is believed only after its own hash.
    for names in (lambda: {*_named_files(bundle), *bundle.files}, lambda: _weight_files(bundle)):
        for name in sorted({*names()} - checked):
            _check_file(bundle, name)
            checked.add(name)


def _check_file(bundle: Bundle, name: str) -> None:
    path = _inside(bundle.folder, name)
    if name not in bundle.files:
        raise BundleError(f'{bundle.folder / MANIFEST} has no sha256 for {name}; re-export')
    if not path.is_file():
        raise BundleError(f'bundle file {path} is missing; restore it or re-export')
    if sha256_of(path) != bundle.files[name]:
        raise BundleError(f'bundle file {path} is not the one that {MANIFEST} describes '
                          '(sha256 differs); restore it or re-export')

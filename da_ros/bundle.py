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
    files: {model.onnx: <sha256>, ...}   # every file that the lines above name

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
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from da_ros.errors import DaRosError

FORMAT = 1
KINDS = ('metric', 'scale_invariant')
PRECISIONS = ('fp32', 'fp16', 'int8')      # from the most exact to the fastest
RESIZES = ('area', 'linear', 'cubic')
DEFAULT_NAME = 'pano_tiny'
MANIFEST = 'model.yaml'


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
    main_graph: Path
    mask_graphs: dict[float, Path]
    self_checks: tuple[SelfCheck, ...]
    files: dict[str, str]
    provenance: dict[str, Any] = field(default_factory=dict)
    accuracy: list[Any] = field(default_factory=list)
    variants: dict[str, Graphs] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions for which there are graphs, the fastest first."""
        return tuple(precision for precision in reversed(PRECISIONS)
                     if precision == self.precision or precision in self.variants)

    def graphs(self, precision: str) -> Graphs:
        """
        Return the graphs of one precision.

        :raises BundleError: if the bundle has none; lists those it has
        """
        if precision == self.precision:
            return Graphs(self.main_graph, self.mask_graphs)
        if precision not in self.variants:
            raise BundleError(
                f'bundle {self.name!r} has no {precision} graphs, only '
                f'{", ".join(self.precisions)}; add them with `python -m training.export '
                f'--bundle {self.folder} --also {precision}`')
        return self.variants[precision]

    def select_mask(self, range_mask_m: float) -> float:
        """
        Return the range-mask threshold that a request means.

        :param range_mask_m: [m]; -1 = the largest of the bundle (0 where it has none), 0 = off
        :return: one of `range_masks_m`, or 0.0 for off
        :raises BundleError: if the bundle has no such mask; lists those it has
        """
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


def load_bundle(folder: str | Path | None = None) -> Bundle:
    """
    Read and check a bundle; every named file must be there and have its stored sha256.

    :param folder: the bundle's folder, or the name of one that ships with the package (a folder
        of that name goes first); None or '' = the default bundle
    :raises BundleError: naming the file and the remedy; nothing is loaded by halves
    """
    path = Path(folder or DEFAULT_NAME).expanduser()
    if not folder or not path.is_dir():
        path = shipped_bundles().get(str(path), path)
    manifest = _read_manifest(path)
    bundle = _parse(path, manifest)
    _check_files(bundle)
    return bundle


def write_manifest(bundle: Bundle) -> None:
    """
    Write `model.yaml` for files that already lie in `bundle.folder`, hashing each of them.

    :raises BundleError: if a named file is missing or the result would not load
    """
    names = _named_files(bundle)
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
        'graphs': _graph_names(bundle, bundle.graphs(bundle.precision)),
        'variants': {precision: _graph_names(bundle, graphs)
                     for precision, graphs in bundle.variants.items()},
        'accuracy': bundle.accuracy,
        'self_check': [asdict(check) for check in bundle.self_checks],
        'files': {name: sha256_of(bundle.folder / name) for name in names}}
    temporary = bundle.folder / (MANIFEST + '.part')
    temporary.write_text(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True))
    temporary.replace(bundle.folder / MANIFEST)
    load_bundle(bundle.folder)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise BundleError(f'bundle folder {path} does not exist; give the folder that holds '
                          f'{MANIFEST}, one that ships with da_ros ({", ".join(shipped_bundles())}'
                          '), or make one with `python -m training.export`')
    file = path / MANIFEST
    if not file.is_file():
        raise BundleError(f'{path} has no {MANIFEST}, so it is not a bundle; make one with '
                          '`python -m training.export`')
    try:
        manifest = yaml.safe_load(file.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f'{file} is not readable YAML ({reason}); restore it') from error
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        found = manifest.get('format') if isinstance(manifest, dict) else type(manifest).__name__
        raise BundleError(f'{file} has bundle format {found!r}, this version reads {FORMAT}; '
                          're-export with `python -m training.export`')
    return manifest


def _parse(path: Path, manifest: dict[str, Any]) -> Bundle:
    try:
        size = manifest['input']['size_hw']
        graphs = _graphs(path, manifest['graphs'])
        bundle = Bundle(
            folder=path.absolute(), name=str(manifest['name']), kind=manifest['kind'],
            precision=manifest['precision'], licence=str(manifest['licence']),
            size_hw=(int(size[0]), int(size[1])), resize=manifest['input']['resize'],
            uses_camera_height=bool(manifest['input']['camera_height']),
            metres_per_unit=manifest['metres_per_unit'], max_range_m=manifest['max_range_m'],
            output_quantile=manifest.get('output_quantile'),
            range_masks_m=tuple(float(t) for t in manifest['range_masks_m']),
            main_graph=graphs.main, mask_graphs=graphs.range_masks,
            self_checks=tuple(SelfCheck(**check) for check in manifest.get('self_check') or ()),
            files=dict(manifest['files']), provenance=manifest.get('provenance') or {},
            accuracy=manifest.get('accuracy') or [],
            variants={precision: _graphs(path, named)
                      for precision, named in (manifest.get('variants') or {}).items()})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BundleError(f'{path / MANIFEST} has a missing or unreadable field ({error}); '
                          're-export with `python -m training.export`') from error
    _check_values(bundle)
    return bundle


def _graphs(path: Path, named: dict[str, Any]) -> Graphs:
    heads = named.get('range_masks') or {}
    return Graphs(_inside(path, named['main']),
                  {float(t): _inside(path, name) for t, name in heads.items()})


def _graph_names(bundle: Bundle, graphs: Graphs) -> dict[str, Any]:
    return {'main': _relative(bundle, graphs.main),
            'range_masks': {t: _relative(bundle, p) for t, p in graphs.range_masks.items()}}


def _check_values(bundle: Bundle) -> None:
    height, width = bundle.size_hw
    metric = bundle.kind == 'metric'
    number = (int, float)
    rules = (
        (bundle.kind in KINDS, f'kind {bundle.kind!r} is none of {KINDS}'),
        (bundle.precision in PRECISIONS, f'precision {bundle.precision!r} is not {PRECISIONS}'),
        (bundle.resize in RESIZES, f'resize {bundle.resize!r} is none of {RESIZES}'),
        (height > 0 and width == 2 * height, f'size_hw {bundle.size_hw} is not 1:2'),
        (not metric or (isinstance(bundle.max_range_m, number) and bundle.max_range_m > 0),
         f'max_range_m {bundle.max_range_m!r} must be positive for a metric bundle'),
        (not metric or (isinstance(bundle.metres_per_unit, number) and bundle.metres_per_unit > 0),
         f'metres_per_unit {bundle.metres_per_unit!r} must be positive for a metric bundle'),
        (bundle.output_quantile is None or (isinstance(bundle.output_quantile, number)
                                            and 0 < bundle.output_quantile <= 1),
         f'output_quantile {bundle.output_quantile!r} is not null or in (0, 1]'),
        (list(bundle.range_masks_m) == sorted(set(bundle.range_masks_m))
         and all(t > 0 for t in bundle.range_masks_m),
         f'range_masks_m {bundle.range_masks_m} must be positive and rising'),
        (not bundle.mask_graphs or tuple(sorted(bundle.mask_graphs)) == bundle.range_masks_m,
         f'graphs.range_masks {sorted(bundle.mask_graphs)} differ from range_masks_m '
         f'{list(bundle.range_masks_m)}'),
        (set(bundle.variants) <= set(PRECISIONS) - {bundle.precision},
         f'variants {list(bundle.variants)} are not {PRECISIONS} beside precision '
         f'{bundle.precision!r}'),
        (all(set(graphs.range_masks) == set(bundle.mask_graphs)
             for graphs in bundle.variants.values()),
         f'variants {list(bundle.variants)} have not the range_masks of graphs, '
         f'{sorted(bundle.mask_graphs)}'),
    )
    for holds, message in rules:
        if not holds:
            raise BundleError(f'{bundle.folder / MANIFEST}: {message}; '
                              're-export with `python -m training.export`')


def _named_files(bundle: Bundle) -> list[str]:
    paths = [path for graphs in map(bundle.graphs, bundle.precisions)
             for path in (graphs.main, *graphs.range_masks.values())]
    return [*(_relative(bundle, path) for path in paths),
            *(name for check in bundle.self_checks for name in (check.image, check.expected))]


def _relative(bundle: Bundle, path: Path) -> str:
    try:
        return path.absolute().relative_to(bundle.folder.absolute()).as_posix()
    except ValueError as error:
        raise BundleError(f'graph {path} lies outside bundle {bundle.folder}; put it '
                          'inside') from error


def _inside(folder: Path, name: str) -> Path:
    if Path(name).is_absolute() or '..' in Path(name).parts:
        raise BundleError(f'bundle {folder} names {name!r} outside its own folder; refused')
    return folder.absolute() / name


def _check_files(bundle: Bundle) -> None:
    for name in sorted({*_named_files(bundle), *bundle.files}):
        path = bundle.folder / name
        _inside(bundle.folder, name)
        if name not in bundle.files:
            raise BundleError(f'{bundle.folder / MANIFEST} has no sha256 for {name}; re-export')
        if not path.is_file():
            raise BundleError(f'bundle file {path} is missing; restore it or re-export')
        if sha256_of(path) != bundle.files[name]:
            raise BundleError(f'bundle file {path} is not the one that {MANIFEST} describes '
                              '(sha256 differs); restore it or re-export')

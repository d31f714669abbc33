"""
Tar shards of panoramas with range (WebDataset layout): <key>.jpg, <key>.range.png, <key>.json.

The range picture is a 16-bit PNG that holds the bits of IEEE float16 metres: relative step 2^-11
at every range, +inf = empty, NaN = unknown. The JSON holds `source`, `camera_height_m` and the
seed. Images are JPEG, quality 95, without chroma subsampling.

A list file (`*.txt`, one `SHARD:KEY` per line, relative to the list) stands for a folder where
only some samples are wanted; what follows a tab is for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import io
import json
from pathlib import Path
import tarfile

import cv2
import numpy as np

from da_ros.errors import DaRosError
from training.sample import Sample

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
SUFFIXES = ('.jpg', '.range.png', '.json')


class ShardError(DaRosError):
    """A shard or a folder of shards that cannot be read."""


def encode_range(range_m: np.ndarray) -> bytes:
    """Return the PNG of a range map (H, W) [m]; beyond 65504 m becomes +inf."""
    with np.errstate(over='ignore'):
        bits = np.ascontiguousarray(range_m, dtype=np.float16).view(np.uint16)
    return cv2.imencode('.png', bits, [cv2.IMWRITE_PNG_COMPRESSION, 2])[1].tobytes()


def decode_range(data: bytes) -> np.ndarray:
    """
    Return (H, W) float32 metres from the PNG of :func:`encode_range`.

    :raises ShardError: if it is not a 16-bit picture
    """
    bits = _decode(data, cv2.IMREAD_UNCHANGED)
    if bits is None or bits.dtype != np.uint16 or bits.ndim != 2:
        raise ShardError('range picture is not a 16-bit grey PNG')
    return bits.view(np.float16).astype(np.float32)


def write_shard(path: Path, samples: Iterable[Sample], extra: dict) -> int:
    """
    Write a shard under a temporary name and rename it when complete.

    :param extra: JSON fields stored with every sample
    :return: number of samples
    :raises ShardError: if it cannot be written, as on a full disk; nothing is left of it
    """
    part = path.with_suffix('.tmp')
    try:
        count = _write_members(part, path.stem, samples, extra)
        part.rename(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ShardError(f'shard {path} cannot be written: {error.strerror or error}; '
                         'finished shards are kept, run the same command again') from error
    return count


def _write_members(part: Path, stem: str, samples: Iterable[Sample], extra: dict) -> int:
    count = 0
    with tarfile.open(part, 'w') as tar:
        for count, sample in enumerate(samples, 1):
            image = cv2.imencode('.jpg', sample.image[..., ::-1], JPEG)[1].tobytes()
            meta = {'source': sample.source, 'camera_height_m': sample.camera_height_m,
                    **sample.meta, **extra}
            payloads = (image, encode_range(sample.range_m), json.dumps(meta).encode())
            for suffix, payload in zip(SUFFIXES, payloads):
                info = tarfile.TarInfo(f'{stem}_{count - 1:04d}{suffix}')
                info.size = len(payload)
                tar.addfile(info, io.BytesIO(payload))
    return count


def read_shard(path: Path) -> Iterator[Sample]:
    """
    Yield the samples of one shard in order.

    :raises ShardError: naming the shard and the member that is missing or corrupt
    """
    for key, members in _groups(path):
        yield decode_sample(members, f'{path}:{key}')


def decode_sample(members: dict[str, bytes], name: str) -> Sample:
    """Return the sample of one {suffix: bytes}; `name` is for the message of a ShardError."""
    missing = [s for s in SUFFIXES if s not in members]
    if missing:
        raise ShardError(f'{name} lacks {", ".join(missing)}')
    image = _decode(members['.jpg'], cv2.IMREAD_COLOR)
    if image is None:
        raise ShardError(f'{name}.jpg is corrupt; delete the shard and render it again')
    try:
        range_m = decode_range(members['.range.png'])
        meta = json.loads(members['.json'])
        source, height_m = meta.pop('source'), float(meta.pop('camera_height_m'))
    except (ShardError, ValueError, KeyError, AttributeError) as error:
        raise ShardError(f'{name} is corrupt ({error}); delete the shard and make it again'
                         ) from error
    if range_m.shape != image.shape[:2]:
        raise ShardError(f'{name}: image {image.shape[:2]} and range {range_m.shape} differ')
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return Sample(image, range_m, np.isfinite(range_m), source, height_m, meta)


def _decode(data: bytes, flags: int):
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None


def _groups(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    try:
        with tarfile.open(path) as tar:
            key, members = '', {}
            for info in tar:
                stem, _, rest = info.name.partition('.')
                if stem != key and members:
                    yield key, members
                    members = {}
                key = stem
                members['.' + rest] = tar.extractfile(info).read()
            if members:
                yield key, members
    except (tarfile.TarError, OSError) as error:
        raise ShardError(f'shard {path} cannot be read: {error}') from error


class ShardSet:
    """
    Random access to every sample of some folders of shards, single shards, and list files.

    :meth:`refresh` looks for shards finished since. Members stay encoded on the disk; an item is
    read by its offset and decoded when asked for.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        """:raises ShardError: if no folder holds a shard, or a list names what is not there."""
        self._folders = [Path(f) for f in folders]
        self._shards: set[Path] = set()
        self._index: list[tuple[Path, str, dict[str, tuple[int, int]]]] = []
        self._listed: dict[Path, int] = {}
        self.corrupt: list[str] = []        # shards that were left out, one message each
        for path in (f for f in self._folders if f.suffix == '.txt'):
            listed = _listed(path)
            self._index += listed
            self._listed[path] = len(listed)
        self.refresh()
        if not self._index:
            raise ShardError('; '.join(self.corrupt) or 'no *.tar with samples under '
                             f'{", ".join(map(str, self._folders))}')

    def refresh(self) -> int:
        """Index new shards and return how many samples there are; a corrupt one is left out."""
        for folder in self._folders:
            for path in [folder] if folder.suffix == '.tar' else sorted(folder.glob('*.tar')):
                if path not in self._shards:
                    self._shards.add(path)
                    try:
                        self._index += _locate(path)
                    except ShardError as error:
                        self.corrupt.append(str(error))
        return len(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        """:raises ShardError: if the sample is corrupt."""
        path, key, _ = self._index[index]
        return decode_sample(self._read(index), f'{path}:{key}')

    def meta(self, index: int) -> dict:
        """Return the JSON of a sample without decoding its pictures."""
        return json.loads(self._read(index, ('.json',))['.json'])

    def place(self, index: int) -> tuple[Path, str]:
        """Return shard and key of a sample."""
        return self._index[index][:2]

    def name(self, index: int) -> str:
        """Return 'FOLDER/SHARD:KEY', by which a label names what it was made from."""
        path, key = self.place(index)
        return f'{path.parent.name}/{path.name}:{key}'

    def _read(self, index: int, suffixes: tuple[str, ...] = ()) -> dict[str, bytes]:
        path, _, spans = self._index[index]
        members = {}
        with path.open('rb') as file:
            for suffix, (offset, size) in spans.items():
                if not suffixes or suffix in suffixes:
                    file.seek(offset)
                    members[suffix] = file.read(size)
        return members

    def names(self) -> list[str]:
        """Return one line per folder or list, '<name>: <count> shards, <first> to <last>'."""
        lines = []
        for folder in self._folders:
            own = sorted(p.name for p in self._shards if p.parent == folder)
            if folder in self._listed:
                lines.append(f'{folder.name}: {self._listed[folder]} samples of a list')
            elif folder.suffix == '.tar':
                lines.append(f'{folder.parent.name}: {folder.name}')
            elif own:
                lines.append(f'{folder.name}: {len(own)} shards, {own[0]} to {own[-1]}')
        return lines


def _listed(path: Path):
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ShardError(f'list {path} cannot be read: {error}') from error
    wanted = [line.split('\t')[0].rpartition(':') for line in lines if line.strip()]
    located = {name: {key: spans for _, key, spans in _locate(path.parent / name)}
               for name in sorted({name for name, _, _ in wanted})}
    for name, _, key in wanted:
        if key not in located[name]:
            raise ShardError(f'list {path} names {key!r}, which {name!r} does not hold; '
                             'make the list again')
    return [(path.parent / name, key, located[name][key]) for name, _, key in wanted]


def _locate(path: Path):
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as tar:
            for info in tar:
                stem, _, rest = info.name.partition('.')
                found.setdefault(stem, {})['.' + rest] = (info.offset_data, info.size)
    except (tarfile.TarError, OSError) as error:
        raise ShardError(f'shard {path} cannot be read: {error}') from error
    return [(path, key, spans) for key, spans in sorted(found.items())]


def contact_sheet(samples: Iterable[Sample], columns: int = 4, width: int = 384) -> np.ndarray:
    """
    Return one picture of image and range (near = red, far = blue, empty = black) per sample.

    :return: (rows, cols, 3) uint8 RGB
    """
    tiles = []
    for sample in samples:
        size = (width, width // 2)
        image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
        colour = cv2.resize(colour_of_range(sample.range_m), size,
                            interpolation=cv2.INTER_NEAREST)
        tile = np.concatenate([image, colour])
        text = f'{sample.source} h={sample.camera_height_m:.2f} m'
        tiles.append(cv2.putText(np.ascontiguousarray(tile), text, (4, 14),
                                 cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0), 1, cv2.LINE_AA))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i:i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def colour_of_range(range_m: np.ndarray, near_m: float = 0.2, far_m: float = 50.0) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB, logarithmic from near (red) to far (blue)."""
    known = np.isfinite(range_m)
    log = np.log(np.where(known, np.maximum(range_m, 1e-3), 1.0))
    scaled = (log - np.log(near_m)) / np.log(far_m / near_m)
    grey = (255 * (1 - np.clip(scaled, 0, 1))).astype(np.uint8)
    colour = cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(known[..., None], colour, 0).astype(np.uint8)

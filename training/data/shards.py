# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Tar shards of panoramas with range (WebDataset layout): <key>.jpg, <key>.range.png, <key>.json.

The range picture is a 16-bit PNG that holds the bits of IEEE float16 metres: relative step 2^-11
at every range, +inf = empty, NaN = unknown. The JSON holds `source`, `camera_height_m`, the seed,
and the CRC-32 of both pictures: a damaged JPEG is decoded without complaint. Images are JPEG,
quality 95, without chroma subsampling.

A list file (`*.txt`, one `SHARD:KEY` per line, relative to the list) stands for a folder where
only some samples are wanted; what follows a tab is for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import io
import json
from pathlib import Path
import tarfile
import zlib

import cv2
import numpy as np

from da_ros.errors import DaRosError
from training.data.sample import Sample

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
SUFFIXES = ('.jpg', '.range.png', '.json')
END_BYTES = 1024                # zeros that end a tar
REMEDY = 'delete the shard and make it again'

Spans = dict[str, tuple[int, int]]      # suffix -> offset and size of a member


class ShardError(DaRosError):
    """A shard or a folder of shards that cannot be read."""


def encode_range(range_m: np.ndarray) -> bytes:
    """Return the PNG of a range map (H, W) [m]; beyond 65504 m becomes +inf."""
    # Half floats as 16-bit grey: NaN and infinities survive, the relative error is below 0.05 %
    # at any range, and PNG packs them. Millimetres would end at 65 m.
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
            pictures = (image, encode_range(sample.range_m))
            meta = {'source': sample.source, 'camera_height_m': sample.camera_height_m,
                    **sample.meta, **extra,
                    'crc32': dict(zip(SUFFIXES, map(zlib.crc32, pictures)))}
            for suffix, payload in zip(SUFFIXES, (*pictures, json.dumps(meta).encode())):
                info = tarfile.TarInfo(f'{stem}_{count - 1:04d}{suffix}')
                info.size = len(payload)
                tar.addfile(info, io.BytesIO(payload))
    return count


def read_shard(path: Path) -> Iterator[Sample]:
    """
    Yield the samples of one shard in order.

    :raises ShardError: naming the shard and the member that is missing or corrupt
    """
    located, damage = _locate(path)
    for _, key, spans in located:
        yield decode_sample(_read(path, spans), f'{path}:{key}')
    if damage:
        raise ShardError(damage)


def decode_sample(members: dict[str, bytes], name: str) -> Sample:
    """
    Return the sample of one {suffix: bytes}; pictures are checked where there are checksums.

    :param name: for the message of an error
    :raises ShardError: if a member is missing or corrupt
    """
    missing = [s for s in SUFFIXES if s not in members]
    if missing:
        raise ShardError(f'{name} lacks {", ".join(missing)}')
    meta, sums = _meta(members['.json'], name)
    for suffix, checksum in sums.items():
        if zlib.crc32(members.get(suffix, b'')) != checksum:
            raise ShardError(f'{name}{suffix} is corrupt (its checksum differs); {REMEDY}')
    image = _decode(members['.jpg'], cv2.IMREAD_COLOR)
    if image is None:
        raise ShardError(f'{name}.jpg is corrupt; {REMEDY}')
    try:
        range_m = decode_range(members['.range.png'])
    except ShardError as error:
        raise ShardError(f'{name} is corrupt ({error}); {REMEDY}') from error
    if range_m.shape != image.shape[:2]:
        raise ShardError(f'{name}: image {image.shape[:2]} and range {range_m.shape} differ')
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    source, height_m = meta.pop('source'), meta.pop('camera_height_m')
    return Sample(image, range_m, np.isfinite(range_m), source, height_m, meta)


def _meta(data: bytes, name: str) -> tuple[dict, dict[str, int]]:
    """Return the JSON of a sample without its checksums, and those; none in older shards."""
    try:
        meta = json.loads(data)
        sums = {suffix: int(value) for suffix, value in meta.pop('crc32', {}).items()}
        meta['camera_height_m'] = float(meta['camera_height_m'])
        return meta | {'source': str(meta['source'])}, sums
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f'{name} is corrupt ({error}); {REMEDY}') from error


def _decode(data: bytes, flags: int):
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None


class ShardSet:
    """
    Random access to every sample of some folders of shards, single shards, and list files.

    :meth:`refresh` looks for shards finished since. Members stay encoded on the disk; an item is
    read by its offset and decoded when asked for.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        """
        Index what is there.

        :raises ShardError: if one does not exist, none holds a shard, or a list names what is
            not there
        """
        self._folders = [Path(f) for f in folders]
        self._shards: set[Path] = set()
        self._index: list[tuple[Path, str, Spans]] = []
        self._listed: dict[Path, int] = {}
        self.corrupt: list[str] = []        # shards that are damaged, one message each
        for path in (f for f in self._folders if f.suffix == '.txt'):
            listed = self._of_list(path)
            self._index += listed
            self._listed[path] = len(listed)
        if missing := [str(f) for f in self._folders if not f.exists()]:
            raise ShardError(f'{", ".join(missing)} does not exist; give folders of shards, '
                             'shards or list files')
        self.refresh()
        if not self._index:
            raise ShardError('; '.join(self.corrupt) or 'no *.tar with samples under '
                             f'{", ".join(map(str, self._folders))}')

    def refresh(self) -> int:
        """Index new shards, as far as they are sound, and return how many samples there are."""
        for folder in self._folders:
            for path in [folder] if folder.suffix == '.tar' else sorted(folder.glob('*.tar')):
                if path not in self._shards:
                    self._shards.add(path)
                    self._index += self._sound(path)[0]
        return len(self._index)

    def _sound(self, path: Path) -> tuple[list[tuple[Path, str, Spans]], bool]:
        """Return the samples before a shard's damage, noted in `corrupt`; whether it is whole."""
        try:
            located, damage = _locate(path)
        except ShardError as error:
            located, damage = [], str(error)
        self.corrupt += [damage] if damage else []
        return located, not damage

    def _of_list(self, path: Path) -> list[tuple[Path, str, Spans]]:
        """
        Return the samples that a list file names, in its order.

        :raises ShardError: if it names what is not there; samples lost by damage are left out
        """
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ShardError(f'list {path} cannot be read: {error}') from error
        wanted = [line.split('\t')[0].rpartition(':') for line in lines if line.strip()]
        located, damaged = {}, set()
        for name in sorted({name for name, _, _ in wanted}):
            if not (path.parent / name).is_file():
                raise ShardError(f'list {path} names {name!r}, which is not there; '
                                 'make the list again')
            samples, whole = self._sound(path.parent / name)
            located[name] = {key: spans for _, key, spans in samples}
            damaged |= set() if whole else {name}
        for name, _, key in wanted:
            if key not in located[name] and name not in damaged:
                raise ShardError(f'list {path} names {key!r}, which {name!r} does not hold; '
                                 'make the list again')
        return [(path.parent / name, key, located[name][key]) for name, _, key in wanted
                if key in located[name]]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        """:raises ShardError: if the sample is corrupt."""
        path, key, spans = self._index[index]
        return decode_sample(_read(path, spans), f'{path}:{key}')

    def meta(self, index: int) -> dict:
        """
        Return the JSON of a sample, `source` and `camera_height_m` included, without its pictures.

        :raises ShardError: if it is missing or corrupt
        """
        path, key, spans = self._index[index]
        if '.json' not in spans:
            raise ShardError(f'{path}:{key} lacks .json')
        return _meta(_read(path, {'.json': spans['.json']})['.json'], f'{path}:{key}')[0]

    def place(self, index: int) -> tuple[Path, str]:
        """Return shard and key of a sample."""
        return self._index[index][:2]

    def name(self, index: int) -> str:
        """Return 'FOLDER/SHARD:KEY', by which a label names what it was made from."""
        path, key = self.place(index)
        return f'{path.parent.name}/{path.name}:{key}'

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


def _locate(path: Path) -> tuple[list[tuple[Path, str, Spans]], str]:
    """
    Return where the members of every sample lie, and how the shard is damaged, '' if it is whole.

    tarfile takes a header that is damaged for the end of the archive, so the end is looked at.

    :raises ShardError: if not even the first member can be found
    """
    found: dict[str, Spans] = {}
    rest = b''
    try:
        with tarfile.open(path, 'r:') as tar:
            for info in tar:
                stem, _, suffix = info.name.partition('.')
                found.setdefault(stem, {})['.' + suffix] = (info.offset_data, info.size)
            # Two blocks of zeros must follow, else the list ended at a damaged header, unsaid.
            tar.fileobj.seek(tar.offset)
            rest = tar.fileobj.read()
    except (tarfile.TarError, OSError) as error:
        if not found:
            raise ShardError(f'shard {path} cannot be read: {error}') from error
    whole = len(rest) >= END_BYTES and not rest.strip(b'\0')
    damage = '' if whole else (f'shard {path} is damaged after {sum(map(len, found.values()))} '
                               f'members, what follows is lost; {REMEDY}')
    return [(path, key, spans) for key, spans in sorted(found.items())], damage


def _read(path: Path, spans: Spans) -> dict[str, bytes]:
    members = {}
    try:
        with path.open('rb') as file:
            for suffix, (offset, size) in spans.items():
                file.seek(offset)
                members[suffix] = file.read(size)
    except OSError as error:
        raise ShardError(f'shard {path} cannot be read: {error}') from error
    return members


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

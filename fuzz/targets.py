# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What is fuzzed: each target takes decisions, and may raise only what its callers expect.

    manifest, calibration, profile   documents of others
    message, still, video            what a camera sends
    parameters, texts, transforms    what other nodes and users say
    bag, graph                       files of others, byte by byte
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
import shutil
import tempfile
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml

from da_ros.bags.transforms import TransformError, TransformTree
from da_ros.body_mask import boxes_from
from da_ros.bundle import BundleError, load_bundle, MANIFEST, sha256_of, shipped_bundles
from da_ros.cameras.calibration import CalibrationError, read_calibration
from da_ros.cameras.profiles import read_profile
from da_ros.config import Config, ConfigError, PREFIXES
from da_ros.encodings import ENCODINGS
from da_ros.errors import DaRosError
from da_ros.levelling import mounting_from, rotation_from_text, up_from_quaternion
from da_ros.onnx_files import external_files
from da_ros.pixels import picture_of
from da_ros.views import views_from
from fuzz.choices import Choices

PIXELS = 1 << 16         # of the largest picture


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return a folder for files, which is removed at the end."""
    import atexit
    made = Path(tempfile.mkdtemp(prefix='fuzz'))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def message(choices: Choices) -> None:
    """Decode a raw image of any encoding, size, step and length."""
    name = choices.of((*ENCODINGS, '', 'BGR8', '8UC5', 'nonsense'))
    height, width = choices.below(40), choices.below(40)
    known = ENCODINGS.get(name)
    row = width * known.channels * known.bits // 8 if known else width
    step = choices.of((row, row, row, row + 1, row + 64, 0, 2**32 - 1, choices.below(300)))
    most = min(height * step, 1 << 16)
    data = choices.rest()[:most]
    data += bytes(max(0, most + choices.of((0, 0, 0, -1, 1, -most)) - len(data)))
    picture_of(SimpleNamespace(height=height, width=width, encoding=name, step=step, data=data,
                               is_bigendian=choices.below(2)))


@lru_cache(maxsize=1)
def stills() -> tuple[bytes, ...]:
    """Return small whole pictures, some with what cameras add."""
    rng = np.random.default_rng(0)
    small = cv2.resize(rng.integers(0, 255, (4, 8, 3), np.uint8), (32, 16))
    jpeg = cv2.imencode('.jpg', small)[1].tobytes()
    progressive = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    png = cv2.imencode('.png', small)[1].tobytes()
    xmp = (b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta GPano:ProjectionType="equirectangular" '
           b'GPano:FullPanoWidthPixels="64" GPano:FullPanoHeightPixels="32" '
           b'GPano:CroppedAreaImageWidthPixels="32" GPano:CroppedAreaImageHeightPixels="16" '
           b'GPano:CroppedAreaLeftPixels="4" GPano:CroppedAreaTopPixels="8"/>')
    tagged = jpeg[:2] + b'\xff\xe1' + (len(xmp) + 2).to_bytes(2, 'big') + xmp + jpeg[2:]
    return jpeg, progressive, png, tagged, jpeg + bytes(500)


def still(choices: Choices) -> None:
    """Decode a damaged JPEG or PNG."""
    kind = choices.of(('jpeg', 'png', 'bgr8; jpeg compressed bgr8', '', 'h264', 'tiff', '\0'))
    data = choices.damaged(choices.of(stills()))
    picture_of(SimpleNamespace(format=kind, data=data), PIXELS)


@lru_cache(maxsize=1)
def decoder() -> Any:
    """Return one decoder for all, as a node has it."""
    from da_ros.cameras.video import VideoDecoder
    return VideoDecoder()


def video(choices: Choices) -> None:
    """Decode an H.264 message of units of any kind."""
    units = b''.join(b'\0\0\0\1' + bytes([choices.of((0x65, 0x41, 0x67, 0x68, 0x06, 0xff))]) +
                     choices.take(choices.below(60)) for _ in range(choices.below(5)))
    decoder().decode(units + choices.rest()[:100])


@lru_cache(maxsize=1)
def bundle() -> tuple[Path, dict[str, Any]]:
    """Return a shipped bundle, cut to files that are hashed quickly, and its manifest."""
    made = folder() / 'bundle'
    shutil.copytree(shipped_bundles()['pano_tiny'], made)
    document = yaml.safe_load((made / MANIFEST).read_text())
    for name in document['files']:
        (made / name).write_bytes((made / name).read_bytes()[:1000])
        document['files'][name] = sha256_of(made / name)
    return made, document


def manifest(choices: Choices) -> None:
    """Load a bundle whose manifest is another document, or damaged text."""
    made, document = bundle()
    if choices.below(3):
        text = _yaml(choices.changed(document)).encode('utf-8', 'replace')
    else:
        text = choices.damaged(_yaml(document).encode())
    (made / MANIFEST).write_bytes(text)
    load_bundle(made)


LENS = {'centre_px': [480, 480], 'radius_px': 470, 'fov_deg': 200, 'roll_deg': 0, 'pitch_deg': 0,
        'yaw_deg': 0}
CALIBRATION = {'format': 1, 'image': {'width': 1920, 'height': 960}, 'blend_deg': 4,
               'lenses': [LENS, LENS | {'centre_px': [1440, 480], 'yaw_deg': 180}]}
PROFILE = {'/**': {'ros__parameters': {'image_topic': '/image', 'erp': {'yaw_deg': 90.0}}}}


def _yaml(document: Any) -> str:
    try:
        return str(yaml.dump(document, Dumper=getattr(yaml, 'CSafeDumper', yaml.SafeDumper),
                             allow_unicode=True))         # ten times as fast where it is
    except UnicodeEncodeError:                            # it takes no halves of characters
        return yaml.safe_dump(document, allow_unicode=True)


def _document(choices: Choices, document: Any) -> Path:
    path = folder() / 'document.yaml'
    text = _yaml(choices.changed(document)).encode('utf-8', 'replace')
    path.write_bytes(text if choices.below(3) else choices.damaged(text))
    return path


def calibration(choices: Choices) -> None:
    """Read a calibration file."""
    read_calibration(_document(choices, CALIBRATION))


def profile(choices: Choices) -> None:
    """Read a camera profile."""
    read_profile(str(_document(choices, PROFILE)))


NAMES = tuple(prefix + item.name for group, prefix in PREFIXES.items()
              for item in fields(getattr(Config(), group)))


def parameters(choices: Choices) -> None:
    """Change a set of parameters."""
    from rclpy.parameter import Parameter

    from da_ros.ros.parameters import with_changes
    drawn = [(choices.of((*NAMES, '', 'nonsense')), choices.value())
             for _ in range(1 + choices.below(3))]
    changes = []
    for name, value in drawn:
        if type(value) is int and abs(value) >= 1 << 63:
            continue                                       # ROS has no others
        try:
            kind = Parameter.Type.from_parameter_value(value)
        except TypeError:
            kind = Parameter.Type.NOT_SET
        changes.append(SimpleNamespace(name=name, value=value, type_=kind))
    with_changes(Config(), changes, bool(choices.below(2)), follow_floor=bool(choices.below(2)))


def texts(choices: Choices) -> None:
    """Read the small languages of parameters."""
    words = ('0', '1', '-1', '90', 'nan', 'inf', '1e999', 'x', ';', ',', ':', 'front', ' ', '-')
    text = ' '.join(choices.of(words) for _ in range(choices.below(16)))
    text += choices.take(choices.below(8)).decode('latin-1')
    reader = choices.of((boxes_from, views_from, mounting_from,
                         lambda text: rotation_from_text(text, 'x')))
    reader(text)


def transforms(choices: Choices) -> None:
    """Fill a tree of frames with any poses, and ask for some."""
    tree, names = TransformTree(), ('a', 'b', '/b', 'c', '')
    for _ in range(choices.below(12)):
        numbers = [choices.of((0.0, 1.0, -1.0, 1e-9, 1e300, np.nan, np.inf)) for _ in range(7)]
        tree.add(choices.of(names), choices.of(names), numbers[:3], numbers[3:],
                 choices.of((None, 0, choices.below(1000), 10**18)))
    up_from_quaternion([choices.of((0.0, 1.0, np.nan, 1e-20)) for _ in range(4)], 'x')
    tree.between(choices.of(names), choices.below(1000), choices.of(names), choices.below(1000))


@lru_cache(maxsize=1)
def bags() -> tuple[tuple[str, bytes], ...]:
    """Return a small bag of each kind."""
    from da_ros.bags.bag_writer import BagWriter
    made = []
    for storage, suffix in (('mcap', '.mcap'), ('sqlite3', '.db3')):
        path = folder() / f'whole_{storage}'
        with BagWriter(path, storage) as bag:
            for stamp in range(3):
                bag.write('/image', bag.image(stamp, 'camera', np.zeros((4, 8, 3), np.uint8),
                                              'bgr8'), stamp)
        file, = path.glob(f'*{suffix}')
        made.append((suffix, file.read_bytes()))
    return tuple(made)


def bag(choices: Choices) -> None:
    """Read a damaged bag to its end."""
    from da_ros.bags.bag import BagReader
    suffix, whole = choices.of(bags())
    path = folder() / f'damaged{suffix}'
    path.write_bytes(choices.damaged(whole))
    with BagReader(path) as reader:
        for message in reader.messages(list(reader.kinds)):
            picture_of(message.decode())


@lru_cache(maxsize=1)
def network() -> bytes:
    """Return the first and the last bytes of a graph, which hold its fields."""
    found, = shipped_bundles()['pano_tiny'].glob('model.onnx')
    whole = found.read_bytes()
    return whole[:3000] + whole[-1000:]


def graph(choices: Choices) -> None:
    """Look for files beside a damaged ONNX graph."""
    path = folder() / 'damaged.onnx'
    path.write_bytes(choices.damaged(network()))
    external_files(path)


# target -> what it may raise, and how many bytes are enough for its decisions
TARGETS: dict[str, tuple[Callable[[Choices], None], tuple[type[Exception], ...], int]] = {
    'message': (message, (DaRosError,), 400), 'still': (still, (DaRosError,), 120),
    'video': (video, (DaRosError,), 400), 'manifest': (manifest, (BundleError,), 300),
    'calibration': (calibration, (CalibrationError,), 200),
    'profile': (profile, (ConfigError,), 120), 'parameters': (parameters, (ConfigError,), 120),
    'texts': (texts, (ConfigError, DaRosError), 80),
    'transforms': (transforms, (TransformError, DaRosError), 400),
    'bag': (bag, (DaRosError,), 120), 'graph': (graph, (DaRosError, ValueError), 120)}


def one(name: str, data: bytes) -> None:
    """
    Give one input to a target.

    :raises Exception: what the target must not raise
    """
    target, expected, _ = TARGETS[name]
    try:
        target(Choices(data))
    except expected as error:
        assert str(error).strip(), f'{type(error).__name__} without a text'

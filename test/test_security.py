# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md promises: no code in data, bounded memory, private files, a known graph."""

import ast
from pathlib import Path
import stat
import struct
import subprocess
import sys
import zlib

from conftest import ROOT, write_stand_in_bundle
import numpy as np
import pytest

from da_ros.body_mask import BodyMaskError, read_picture
from da_ros.cameras.models import ErpCamera
from da_ros.engines.private import make_folder, read_own
from da_ros.jpeg_png import decode_image, StillError

# Names that run what they read. `exec_module` and the like import our own files only.
CODE = {'eval', 'exec', 'compile', '__import__'}
UNSAFE_MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve'}


def calls(path: Path):
    """Yield the dotted name and the node of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob('*.py'))


def test_nothing_on_the_robot_runs_what_it_reads():
    assert len(sources('da_ros')) > 50
    for path in sources('da_ros'):
        runs_nothing(path)


def runs_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    imported = {alias.name.split('.')[0] for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    imported |= {node.module.split('.')[0] for node in ast.walk(tree)
                 if isinstance(node, ast.ImportFrom) and node.module}
    assert not imported & UNSAFE_MODULES, path
    for name, node in calls(path):
        assert name not in CODE, (path, node.lineno, name)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert given.get('allow_pickle', 'False') == 'False', (path, node.lineno)
        assert given.get('shell', 'False') == 'False', (path, node.lineno)
        assert not name.startswith(('os.system', 'os.popen', 'torch.load')), path
        assert name not in ('yaml.load', 'yaml.unsafe_load', 'yaml.full_load') or (
            path.name == 'documents.py' and ast.unparse(node.args[1]) == '_LOADER'), path


def test_the_one_loader_of_yaml_is_a_safe_one():
    import yaml

    from da_ros import documents
    assert issubclass(documents._LOADER, yaml.SafeLoader | getattr(yaml, 'CSafeLoader',
                                                                   yaml.SafeLoader))


@pytest.mark.parametrize('package', ['training', 'bench'])
def test_checkpoints_are_read_as_weights_only(package):
    for path in sources(package):
        for name, node in calls(path):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name == 'torch.load':
                assert given.get('weights_only') == 'True', (path, node.lineno)
            assert name not in ('pickle.load', 'pickle.loads', 'eval', 'exec',
                                'torch.jit.load'), (path, node.lineno)
            assert given.get('allow_pickle', 'False') == 'False', (path, node.lineno)


def png(width: int, height: int) -> bytes:
    """Return a whole PNG of zeros that is small and says that it is large."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', zlib.crc32(kind + data))
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(
        b'IDAT', zlib.compress(bytes(1 << 20))) + chunk(b'IEND', b'')


def test_what_says_that_it_is_large_is_refused_before_it_takes_memory(tmp_path):
    bomb = png(40000, 30000)
    with pytest.raises(StillError, match='40000 x 30000 px is larger than max_image_pixels'):
        decode_image(bomb)
    path = tmp_path / 'mask.png'
    path.write_bytes(bomb)
    with pytest.raises(BodyMaskError, match='is larger than max_image_pixels'):
        read_picture(path, ErpCamera())


def test_a_video_that_says_that_it_is_large_is_refused(monkeypatch):
    pytest.importorskip('av', reason='PyAV is not installed (extra da_ros[video])')
    from video_frames import encoded

    from da_ros.cameras import video
    monkeypatch.setattr(video, 'MAX_IMAGE_PIXELS', 64 * 64)
    rng = np.random.default_rng(0)
    for width, taken in ((64, True), (128, False)):
        message, *_ = encoded([rng.integers(0, 255, (64, width, 3), np.uint8)], 1, {})
        decoder = video.VideoDecoder()
        if taken:
            assert decoder.decode(message).shape == (64, width, 3)
        else:
            with pytest.raises(video.VideoError, match='is damaged'):
                decoder.decode(message)


def test_the_engine_cache_is_private(tmp_path):
    folder = tmp_path / 'engines'
    make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    plan = folder / 'plan'
    plan.write_bytes(b'engine')
    plan.chmod(0o600)
    assert read_own(plan) == b'engine'
    plan.chmod(0o622)                       # an engine is code
    assert read_own(plan) is None


def test_outputs_are_no_wider_than_the_user_allows(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b')
    code = (f"import os; os.umask(0o077); from da_ros.commands.infer import main; "
            f"main([{str(ROOT / 'da_ros/samples/city.jpg')!r}, '--model', {str(bundle.folder)!r}, "
            f"'--backend', 'onnxruntime', '--out', {str(tmp_path / 'out')!r}])")
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = [path for path in (tmp_path / 'out').rglob('*') if path.is_file()]
    assert made and not [path for path in made if path.stat().st_mode & 0o077]


def test_a_node_that_is_told_to_be_secure_never_starts_insecurely(monkeypatch, capsys):
    pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros])')
    from da_ros.ros import node
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    monkeypatch.setenv('ROS_SECURITY_STRATEGY', 'Enforce')
    monkeypatch.setenv('ROS_SECURITY_KEYSTORE', '/nonexistent')
    with pytest.raises(SystemExit) as ended:
        node.main([])
    line, = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and 'SECURITY ERROR' in line and '/nonexistent' in line

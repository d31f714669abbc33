# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Hostile input raises what callers expect and nothing else; what fuzzing found stays found."""

import os
import random
import re
import subprocess
import sys
import time
from types import SimpleNamespace

from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import yaml

from da_ros.bags.bag import BagReader
from da_ros.bags.storage import BagError
from da_ros.body_mask import BodyMaskError, read_picture
from da_ros.bundle import BundleError, load_bundle
from da_ros.cameras.calibration import CalibrationError, read_calibration
from da_ros.cameras.h264 import Numbering
from da_ros.cameras.models import ErpCamera
from da_ros.cameras.profiles import read_profile
from da_ros.config import ConfigError
from da_ros.files import FileError, read_panorama
from da_ros.pixels import MessageError, picture_of
from fuzz import commands
from fuzz.targets import CALIBRATION, one, PROFILE, TARGETS


@pytest.mark.parametrize('name', TARGETS)
def test_hostile_input_raises_what_is_expected(name):
    if name == 'parameters':
        pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros])')
    if name == 'video':
        pytest.importorskip('av', reason='PyAV is not installed (extra da_ros[video])')
    if name == 'bag':
        pytest.importorskip('rosbags', reason='rosbags is not installed (extra da_ros[bags])')

    @settings(max_examples=30 if name in ('bag', 'manifest') else 150, deadline=None)
    @given(st.binary(max_size=TARGETS[name][2]))
    def hold(data):
        one(name, data)
    hold()


def test_a_guided_fuzzer_finds_nothing_in_some_inputs_and_sees_paths(tmp_path):
    pytest.importorskip('atheris', reason='atheris is not installed (no wheel for Python 3.10)')
    paths = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, '-m', 'fuzz', '--guided', '--target', 'graph', '--count', '300'],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {'PYTHONPATH': paths})
    assert done.returncode == 0 and 'Done 300 runs' in done.stderr, done.stderr
    assert int(re.findall(r'cov: (\d+)', done.stderr)[-1]) > 10


@pytest.mark.parametrize('module', commands.LIGHT)
def test_a_command_takes_hostile_arguments_with_one_line(module, tmp_path):
    if module == 'da_ros.ros.node':
        pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros])')
    folder = tmp_path / 'a' / 'b' / 'c'
    folder.mkdir(parents=True)
    given = commands.arguments(module, commands.make_files(folder), random.Random(module))
    assert not commands.answer(module, given, folder, patience_s=5.0), given


@pytest.mark.parametrize('code, said, wrong', [
    (0, '', ''), (1, 'x: no such file', ''), (2, 'usage: x\n   [-h]\nx: error: no', ''),
    (1, '', 'without a word'), (2, 'usage: x\n', '0 lines'), (2, 'one\ntwo', '2 lines'),
    (139, '', 'exit code 139'), (1, 'Traceback (most recent call last):\n', 'traceback')])
def test_how_a_command_may_end(code, said, wrong):
    assert wrong in commands.judged(code, said, False) if wrong else not commands.judged(
        code, said, False)


BOMB = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{chr(98 + n)}: &{chr(98 + n)} [' + ', '.join([f'*{chr(97 + n)}'] * 9) + ']\n'
    for n in range(9))
DEEP = '[' * 5000 + ']' * 5000


@pytest.mark.parametrize('text', [BOMB, DEEP, 'x: ' + '1:' * 40000 + '1'],
                         ids=['aliases', 'nesting', 'base 60'])
def test_documents_that_grow_are_refused_at_once(text, tmp_path):
    path = tmp_path / 'document.yaml'
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(CalibrationError, match='is not readable YAML .*; write one with'):
        read_calibration(path)
    with pytest.raises(ConfigError, match='is no parameter file'):
        read_profile(str(path))
    bag = tmp_path / 'bag'
    bag.mkdir()
    (bag / 'metadata.yaml').write_text(text)
    with pytest.raises(BagError, match='its metadata.yaml is damaged'):
        BagReader(bag)
    assert time.process_time() - began < 5           # nested lists of 9^9 would take hours


def test_numbers_beyond_all_bounds_are_refused(tmp_path):
    path = tmp_path / 'document.yaml'
    path.write_text(yaml.safe_dump(CALIBRATION | {'blend_deg': 10**400}, width=1000))
    with pytest.raises(CalibrationError, match='not readable|blend_deg is 1000'):
        read_calibration(path)
    path.write_text(yaml.safe_dump(CALIBRATION | {'blend_deg': 10**80}, width=1000))
    with pytest.raises(CalibrationError, match='blend_deg 1e'):
        read_calibration(path)
    PROFILE['/**']['ros__parameters']['scan.beams'] = 1 << 64
    try:
        path.write_text(yaml.safe_dump(PROFILE))
    finally:
        del PROFILE['/**']['ros__parameters']['scan.beams']
    with pytest.raises(ConfigError, match='is no parameter file'):
        read_profile(str(path))


def test_a_sequence_header_that_names_thousands_of_bits_is_no_number():
    header = b'\0\0\0\1\x67\x42\0\x28\x80' + b'\0\0\3' * 20
    assert not Numbering().missing(header + b'\0\0\0\1\x65\x88' + b'\0\0\0\1\x41\xff\xff')


@pytest.mark.parametrize('read, error', [
    (load_bundle, BundleError), (read_profile, ConfigError), (read_calibration, CalibrationError),
    (lambda name: read_profile(f'{name}.yaml'), ConfigError), (BagReader, BagError),
    (read_panorama, FileError), (lambda name: read_picture(name, ErpCamera()), BodyMaskError)])
@pytest.mark.parametrize('name', ['é' * 300, 'é' * 300 + '/x', '~nobody_of_this_name/x', 'x\0y',
                                  'loop'], ids=['long', 'long folder', 'user', 'zero', 'loop'])
def test_a_name_that_no_file_can_have_is_refused_with_it(read, error, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'loop').symlink_to('loop')
    with pytest.raises(error) as told:
        read(name)
    assert name in str(told.value) or repr(name)[1:-1] in str(told.value)


@pytest.mark.parametrize('signers', ['é' * 300, '~nobody_of_this_name/x', 'x\0y'])
def test_a_name_that_no_file_of_signers_can_have_is_refused_with_it(signers, stand_in):
    with pytest.raises(BundleError) as told:
        load_bundle(stand_in.folder, signers)
    assert signers in str(told.value)


def test_a_message_of_no_rows_and_a_step_of_gigabytes_is_refused():
    for height, width, step in ((0, 0, 0), (1, 1, 2**32 - 1), (2**31, 2**31, 0)):
        with pytest.raises(MessageError):
            picture_of(SimpleNamespace(height=height, width=width, encoding='bgr8', step=step,
                                       data=b'', is_bigendian=0))

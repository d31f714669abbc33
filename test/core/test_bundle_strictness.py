# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What others wrote into a bundle is one line of error, or right: nothing in between."""

from collections.abc import Iterator
import copy
from dataclasses import replace
import datetime
from pathlib import Path
import random
import shutil
import time

from conftest import write_stand_in_bundle
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
import yaml

from da_ros.bundle import (
    BundleError,
    load_bundle,
    shipped_bundles,
    write_manifest,
)
from da_ros.onnx_files import external_files, graph_digest

ODD = [None, True, False, 0, -1, 5, 2**70, 10**400, 0.5, float('nan'), float('inf'), -0.0, '',
       'text', 'false', '../x', '/etc/passwd', 'a\0b', 'x' * 5000, 'two\nlines', [], ['a'], [1, 2],
       [[]], {}, {'a': 1}, {1: 2}, {None: None}, datetime.date(2026, 1, 1), b'bytes', {1, 2}]


def manifest_of(folder: Path) -> dict:
    return yaml.safe_load((folder / 'model.yaml').read_text())


def places(node, path=()) -> Iterator[tuple]:
    """Yield the path to every value of a document."""
    if isinstance(node, (dict, list)):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield (*path, key)
            yield from places(node[key], (*path, key))


def refusal(folder: Path) -> str:
    """Load a bundle; return '' or the error, which must be one short line of the one kind."""
    try:
        load_bundle(folder)
    except BundleError as error:
        text = str(error)
        assert text.isprintable() and len(text) < 1000, text
        return text
    return ''


def test_any_odd_value_anywhere_is_one_line_or_no_change_of_meaning(tmp_path):
    folder = write_stand_in_bundle(tmp_path / 'b', masks=(10.0,), separate_heads=True).folder
    chance = random.Random(0)
    good = manifest_of(folder) | {'provenance': {}, 'accuracy': []}
    free = {('provenance',), ('accuracy',), ('licence',), ('name',), ('output_quantile',)}
    harmless = []
    for path in places(good):
        for value in chance.sample(ODD, 8):
            changed = copy.deepcopy(good)
            at = changed
            for key in path[:-1]:
                at = at[key]
            if at[path[-1]] == value and type(at[path[-1]]) is type(value):
                continue
            at[path[-1]] = value
            (folder / 'model.yaml').write_text(yaml.safe_dump(changed))
            if not refusal(folder) and path not in free:
                harmless.append((path, value))
    allowed = {('input', 'camera_height'), ('metres_per_unit',), ('max_range_m',),
               ('self_check', 0, 'camera_height_m'), ('self_check',), ('variants',),
               ('graphs', 'range_masks'), ('input', 'size_hw')}
    assert {path for path, _ in harmless} <= allowed, harmless
    kinds = {(path, type(value)) for path, value in harmless}
    assert kinds <= {(('input', 'camera_height'), bool)} | {
        (path, kind) for path in allowed
        for kind in (int, float, type(None), list, dict)}, harmless


def test_a_text_is_no_truth_value(stand_in):
    manifest = manifest_of(stand_in.folder)
    manifest['input']['camera_height'] = 'false'
    (stand_in.folder / 'model.yaml').write_text(yaml.safe_dump(manifest))
    assert "model.yaml: input.camera_height is 'false', not true or false" in refusal(
        stand_in.folder)


BOMB = 'a0: &a0 [x, x]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 12))


@pytest.mark.parametrize('text, reason', [
    (BOMB + 'format: 1\n', 'alias .a0: write out'), ('a: &a [*a]\nformat: 1', 'alias .a'),
    ('a: &a {b: 1}\n<<: *a\nformat: 1', 'alias'), ('[' * 20000, 'nested deeper than 20'),
    ('a: ' * 3000, 'not readable YAML'), ('{a: ' * 2000, 'nested deeper'), ('- ' * 9999, 'nested'),
    ('format: ' + '1:59:' * 100_000 + '1', 'a number of'),
    ('format: ' + '9' * 9999, 'a number of'),
    ('\0', 'not readable YAML'), ('format: !!int ""', 'not readable YAML'),
    ('format: !!timestamp x', 'not readable'), ('format: !!bool x', 'not readable YAML'),
    ('format: !!python/object/apply:os.getcwd []', 'could not determine a constructor'),
    ('format: 2026-13-45', 'not readable YAML'), ('? [1]\n: 2', 'not readable YAML'),
    ('x' * (5 << 20), 'larger than 4 MiB'), ('', "format 'NoneType'"), ('1', "format 'int'"),
    ('format: 1\nkind: metric\nname: a\nkind: scale_invariant', "key 'kind' twice"),
    ('format: 1\na: [{b: 1, c: {d: 1, "d": 2}}]', "key 'd' twice"),
    ('format: 1\n\tkind: metric', 'in line 2'),
    ('format: "1"', "format '1'"), ('---\na: 1\n---\nb: 2', 'not readable YAML')],
    ids=lambda text: text[:20])
def test_documents_that_are_bombs_or_nonsense_are_one_line_at_once(stand_in, text, reason):
    (stand_in.folder / 'model.yaml').write_text(text)
    begun = time.process_time()
    with pytest.raises(BundleError, match=reason):
        load_bundle(stand_in.folder)
    refusal(stand_in.folder)
    assert time.process_time() - begun < 60          # not hours; no measure of speed


def test_bytes_that_are_no_text_and_a_folder_in_the_place_of_the_file_are_named(stand_in):
    path = stand_in.folder / 'model.yaml'
    path.write_bytes(b'format: \xfd\x80')
    assert 'is not readable YAML' in refusal(stand_in.folder)
    path.unlink()
    path.mkdir()
    assert 'has no model.yaml' in refusal(stand_in.folder)


def test_what_is_written_has_no_aliases_and_reads_back(stand_in):
    same = {'a': [1, 2]}
    write_manifest(replace(stand_in, provenance={'one': same, 'two': same}))
    assert '&' not in (stand_in.folder / 'model.yaml').read_text()
    assert load_bundle(stand_in.folder).provenance == {'one': same, 'two': same}


@pytest.mark.parametrize('name', ['model.onnx', 'self_check/0.png', 'self_check/0.npz',
                                  'model.yaml'])
def test_a_link_out_of_the_folder_is_refused_and_one_within_it_is_not(stand_in, tmp_path, name):
    file = stand_in.folder / name
    outside, inside = tmp_path / 'outside', stand_in.folder / 'kept'
    shutil.copy(file, inside)
    shutil.move(file, outside)
    file.symlink_to(inside)
    assert not refusal(stand_in.folder)
    file.unlink()
    file.symlink_to(outside)
    assert f"names '{name}' outside its own folder (or leads there by a link)" in refusal(
        stand_in.folder)


def test_a_linked_folder_within_and_a_link_to_the_whole_bundle(stand_in, tmp_path):
    whole = tmp_path / 'link'
    whole.symlink_to(stand_in.folder)
    assert load_bundle(whole).name == 'stand_in'
    outside = tmp_path / 'elsewhere'
    shutil.move(stand_in.folder / 'self_check', outside)
    (stand_in.folder / 'self_check').symlink_to(outside)
    assert 'outside its own folder' in refusal(stand_in.folder)


@pytest.mark.parametrize('name', shipped_bundles())
def test_what_ships_is_written_again_byte_by_byte(name, tmp_path):
    folder = tmp_path / name
    shutil.copytree(shipped_bundles()[name], folder)
    before = (folder / 'model.yaml').read_bytes()
    write_manifest(replace(load_bundle(folder), files={}))
    assert (folder / 'model.yaml').read_bytes() == before


# ---- weights beside the graph ----

def externalise(bundle, location='weights.bin', size_threshold=0):
    """Move the constants that no shape depends on into a file of their own."""
    model = onnx.load(bundle.own.main)
    path = bundle.folder / location
    path.parent.mkdir(exist_ok=True)
    with path.open('wb') as stream:
        for tensor in model.graph.initializer:
            if tensor.name in ('scale', 'level'):
                array = numpy_helper.to_array(tensor)
                tensor.ClearField('raw_data')
                tensor.ClearField('float_data')
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (('location', location), ('offset', stream.tell()),
                                   ('length', array.nbytes)):
                    tensor.external_data.add(key=key, value=str(value))
                stream.write(array.tobytes())
    bundle.own.main.write_bytes(model.SerializeToString())


@pytest.fixture
def split(stand_in):
    """Return a bundle whose graph takes weights from a file beside it."""
    externalise(stand_in)
    write_manifest(stand_in)
    return load_bundle(stand_in.folder)


def test_weights_beside_the_graph_are_hashed_like_it(split):
    from da_ros import gate
    from da_ros.backends.order import open_backend
    assert 'weights.bin' in split.files
    assert gate.check(open_backend('onnxruntime', split, 'fp32'), split).scale == 1
    path = split.folder / 'weights.bin'
    path.write_bytes(path.read_bytes().replace(np.float32(0.4).tobytes(),
                                               np.float32(0.8).tobytes()))
    assert 'weights.bin is not the one that model.yaml describes' in refusal(split.folder)
    path.unlink()
    assert 'weights.bin is missing' in refusal(split.folder)


def test_weights_that_the_manifest_does_not_name_are_refused(split):
    manifest = manifest_of(split.folder)
    del manifest['files']['weights.bin']
    (split.folder / 'model.yaml').write_text(yaml.safe_dump(manifest))
    assert 'has no sha256 for weights.bin' in refusal(split.folder)


@pytest.mark.parametrize('location, reason', [
    ('../weights.bin', 'outside its own folder'), ('/tmp/weights.bin', 'outside its own folder'),
    ('', 'is missing'), ('a\0b', 'no name of a file'), ('x' * 300, 'no name of a file')])
def test_weights_outside_the_folder_are_refused(stand_in, location, reason):
    model = onnx.load(stand_in.own.main)
    model.graph.initializer[0].external_data.add(key='location', value=location)
    stand_in.own.main.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=reason):
        write_manifest(stand_in)


def test_the_engine_depends_on_the_weights_beside_its_graph(stand_in, stand_in_tensorrt):
    from da_ros.engines import jobs_for
    before = jobs_for(stand_in, 'tensorrt', 'fp32')[0]
    assert before.ingredients['onnx'] == stand_in.files['model.onnx']
    externalise(stand_in)
    write_manifest(stand_in)
    split = load_bundle(stand_in.folder)
    job = jobs_for(split, 'tensorrt', 'fp32')[0]
    assert job.ingredients['onnx'] == graph_digest(split.own.main) != split.files['model.onnx']
    (split.folder / 'weights.bin').write_bytes(b'others!!')
    write_manifest(split)
    changed = jobs_for(load_bundle(split.folder), 'tensorrt', 'fp32')[0]
    assert changed.key != job.key


def tensor(name: str, location: str) -> TensorProto:
    made = numpy_helper.from_array(np.zeros(2, np.float32), name)
    made.external_data.add(key='location', value=location)
    made.external_data.add(key='offset', value='0')
    return made


def test_weights_are_found_wherever_a_graph_can_hold_them(tmp_path):
    """In constants, sparse ones, attributes, branches within branches, functions."""
    def constant(location):
        return helper.make_node('Constant', [], ['c'], value=tensor('c', location))
    inner = helper.make_graph([constant('inner')], 'inner', [], [])
    outer = helper.make_graph(
        [helper.make_node('If', ['x'], ['y'], then_branch=inner)], 'outer', [], [])
    sparse = helper.make_sparse_tensor(tensor('values', 'sparse'), tensor('indices', 'where'), [4])
    graph = helper.make_graph(
        [constant('node'), helper.make_node('Loop', ['x'], ['y'], body=outer)], 'g', [], [],
        [tensor('w', 'plain'), numpy_helper.from_array(np.zeros(100_000), 'large')],
        sparse_initializer=[sparse])
    function = helper.make_function('own', 'F', [], ['c'], [constant('function')],
                                    [helper.make_opsetid('', 18)])
    path = tmp_path / 'graph.onnx'
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    assert external_files(path) == ['function', 'inner', 'node', 'plain', 'sparse', 'where']


def test_shipped_and_small_graphs_hold_their_own_weights(stand_in):
    assert external_files(stand_in.own.main) == external_files(load_bundle().own.main) == []
    assert graph_digest(stand_in.own.main) == stand_in.files['model.onnx']


@pytest.mark.parametrize('change', [lambda raw: b'', lambda raw: b'not onnx',
                                    lambda raw: raw[:-1], lambda raw: raw + b'\x0b',
                                    lambda raw: b'\xff' * 11 + raw,
                                    lambda raw: raw[:9] + raw[10:]])
def test_what_is_no_graph_is_named(stand_in, change):
    stand_in.own.main.write_bytes(change(stand_in.own.main.read_bytes()))
    with pytest.raises(BundleError, match=r'bundle file .*model\.onnx is (empty, )?no ONNX graph'):
        write_manifest(stand_in)


def test_cut_graphs_never_hang_or_raise_anything_else(stand_in):
    whole = stand_in.own.main.read_bytes()
    for cut in range(1, len(whole), 37):
        stand_in.own.main.write_bytes(whole[:cut])
        try:
            assert external_files(stand_in.own.main) == []
        except ValueError as error:
            assert 'no ONNX graph' in str(error)

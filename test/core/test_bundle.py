# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bundles load whole or not at all, and every refusal names the file and the remedy."""

from dataclasses import replace
import shutil

from conftest import write_stand_in_bundle
import pytest
import yaml

from da_ros.bundle import (
    BundleError,
    Graphs,
    load_bundle,
    shipped_bundles,
    write_manifest,
)


def edit(bundle, **changes):
    """Change fields of a written model.yaml."""
    path = bundle.folder / 'model.yaml'
    manifest = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump(manifest))


def test_a_written_bundle_reads_back_equal(stand_in, tmp_path):
    again = write_stand_in_bundle(tmp_path / 'again', separate_heads=True)
    assert load_bundle(again.folder) == again
    assert load_bundle(str(stand_in.folder)).range_masks_m == (10, 20, 50, 100)
    assert set(again.own.range_masks) == {10, 20, 50, 100} and not stand_in.own.range_masks


def test_default_bundle_is_whole_and_ours():
    bundle = load_bundle()
    assert bundle.folder == shipped_bundles()['pano_tiny'] and bundle.name == 'pano_tiny'
    assert bundle.size_hw == (256, 512) and bundle.range_masks_m == (10, 20, 50, 100)
    assert bundle.kind == 'metric' and bundle.uses_camera_height
    size = sum(p.stat().st_size for p in bundle.folder.rglob('*') if p.is_file())
    assert size <= 25e6


def test_a_shipped_bundle_is_known_by_its_name_and_a_folder_goes_first(tmp_path, monkeypatch):
    for name, folder in shipped_bundles().items():
        assert load_bundle(name).folder == folder and load_bundle(name).name == name
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'pano_tiny').mkdir()
    with pytest.raises(BundleError, match='pano_tiny has no model.yaml'):
        load_bundle('pano_tiny')


@pytest.mark.parametrize('request_m, selected', [(-1, 100), (0, 0), (20, 20), (20.0, 20)])
def test_mask_requests_mean_one_of_the_bundle(stand_in, request_m, selected):
    assert stand_in.select_mask(request_m) == selected


def test_without_masks_the_largest_is_off_and_any_other_is_refused(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', masks=())
    assert bundle.select_mask(-1) == 0
    with pytest.raises(BundleError, match='100 is not in bundle .*, which has no range mask'):
        bundle.select_mask(100)


def test_missing_folder_and_missing_manifest_say_what_a_bundle_is(tmp_path):
    with pytest.raises(BundleError, match='nowhere does not exist; give the folder that holds '
                       'model.yaml, one that ships with da_ros .*pano_tiny'):
        load_bundle(tmp_path / 'nowhere')
    with pytest.raises(BundleError, match=r'has no model\.yaml, so it is not a bundle'):
        load_bundle(tmp_path)


def test_broken_yaml_and_other_formats_are_refused(stand_in):
    (stand_in.folder / 'model.yaml').write_text('format: [1')
    with pytest.raises(BundleError, match='is not readable YAML'):
        load_bundle(stand_in.folder)
    (stand_in.folder / 'model.yaml').write_text('- 1')
    with pytest.raises(BundleError, match="has bundle format 'list', this version reads 1"):
        load_bundle(stand_in.folder)
    (stand_in.folder / 'model.yaml').write_text('format: 2')
    with pytest.raises(BundleError, match='has bundle format 2, this version reads 1; re-export'):
        load_bundle(stand_in.folder)


@pytest.mark.parametrize('changes, message', [
    ({'kind': 'magic'}, "kind 'magic' is none of"),
    ({'precision': 'fp8'}, "precision 'fp8' is not"),
    ({'input': {'size_hw': [32, 60], 'resize': 'area', 'camera_height': False}}, 'is not 1:2'),
    ({'input': {'size_hw': [32], 'resize': 'area', 'camera_height': False}}, 'is not 1:2'),
    ({'input': {'size_hw': [32, 64], 'resize': 'bicubic', 'camera_height': False}}, 'bicubic'),
    ({'max_range_m': None}, 'max_range_m None must be positive'),
    ({'metres_per_unit': 0}, 'metres_per_unit 0.0 must be positive'),
    ({'range_masks_m': [20, 10]}, r'range_masks_m \[20.0, 10.0\] must be positive and rising'),
    ({'graphs': {'main': 'model.onnx', 'range_masks': {10: 'model.onnx'}}}, 'differ from'),
    ({'graphs': {'main': '../model.onnx'}}, "names '../model.onnx' outside its own folder"),
    ({'files': {'../model.onnx': '0' * 64}}, "names '../model.onnx' outside its own folder"),
    ({'graphs': {'main': 'other.onnx'}}, 'has no sha256 for other.onnx'),
    ({'variants': {'fp8': {'main': 'model.onnx'}}}, r"variants \['fp8'\] are not"),
    ({'variants': {'fp32': {'main': 'model.onnx'}}}, r"variants \['fp32'\] are not .* beside"),
    ({'variants': {'fp16': {'main': 'model.onnx', 'range_masks': {10: 'model.onnx'}}}},
     'have not the range_masks of graphs'),
    ({'variants': {'fp16': {'range_masks': {}}}}, "fp16 has no field 'main'"),
    ({'variants': ['fp16']}, r"variants is \['fp16'\], not a mapping"),
    ({'variants': {'fp16': {'main': 'other.onnx'}}}, 'has no sha256 for other.onnx')])
def test_a_wrong_field_is_named(stand_in, changes, message):
    edit(stand_in, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(stand_in.folder)


@pytest.mark.parametrize('field', ['name', 'kind', 'graphs', 'files', 'input', 'range_masks_m'])
def test_a_missing_field_is_named(stand_in, field):
    path = stand_in.folder / 'model.yaml'
    manifest = yaml.safe_load(path.read_text())
    del manifest[field]
    path.write_text(yaml.safe_dump(manifest))
    with pytest.raises(BundleError, match=f"model.yaml has no field '{field}'; restore"):
        load_bundle(stand_in.folder)


@pytest.mark.parametrize('name', ['model.onnx', 'self_check/0.png', 'self_check/0.npz'])
def test_a_missing_or_changed_file_is_named(stand_in, tmp_path, name):
    copy = tmp_path / 'copy'
    shutil.copytree(stand_in.folder, copy)
    with (copy / name).open('ab') as stream:
        stream.write(b'!')
    with pytest.raises(BundleError, match=f'{name} is not the one that model.yaml describes'):
        load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f'{name} is missing; restore it'):
        load_bundle(copy)


def test_nothing_is_written_for_a_bundle_whose_files_are_missing(stand_in, tmp_path):
    elsewhere = replace(stand_in, folder=tmp_path / 'empty',
                        graphs={'fp32': Graphs(tmp_path / 'empty/model.onnx')})
    elsewhere.folder.mkdir()
    with pytest.raises(BundleError, match='is missing; write it first'):
        write_manifest(elsewhere)
    with pytest.raises(BundleError, match='lies outside bundle .*; put it inside'):
        write_manifest(replace(elsewhere, graphs=stand_in.graphs))
    assert not list(elsewhere.folder.iterdir())


def test_a_graph_in_a_sub_folder_is_hashed_under_its_own_name(stand_in):
    (stand_in.folder / 'sub').mkdir()
    shutil.copy(stand_in.own.main, stand_in.folder / 'sub/model.onnx')
    write_manifest(replace(stand_in, graphs={'fp32': Graphs(
        stand_in.folder / 'sub/model.onnx')}))
    assert load_bundle(stand_in.folder).own.main == stand_in.folder / 'sub/model.onnx'
    (stand_in.folder / 'sub/model.onnx').write_bytes(b'tampered')
    with pytest.raises(BundleError, match='sub/model.onnx is not the one'):
        load_bundle(stand_in.folder)


@pytest.fixture
def two_precisions(tmp_path):
    """Return a bundle with separate heads that has fp32 and fp16 graphs."""
    bundle = write_stand_in_bundle(tmp_path / 'two', masks=(10.0, 20.0), separate_heads=True)
    graphs = bundle.graphs_in('fp32')
    halves = {path: path.with_name(f'{path.stem}_fp16.onnx')
              for path in (graphs.main, *graphs.range_masks.values())}
    for path, half in halves.items():
        shutil.copy(path, half)
    write_manifest(replace(bundle, graphs=bundle.graphs | {'fp16': Graphs(
        halves[graphs.main], {t: halves[path] for t, path in graphs.range_masks.items()})}))
    return load_bundle(bundle.folder)


def test_a_bundle_tells_its_precisions_fastest_first_and_the_graphs_of_each(two_precisions):
    assert two_precisions.precisions == ('fp16', 'fp32')
    assert two_precisions.graphs_in('fp32').main == two_precisions.own.main
    half = two_precisions.graphs_in('fp16')
    assert half.main.name == 'model_fp16.onnx'
    assert {t: path.name for t, path in half.range_masks.items()} == {
        10: 'mask_10_fp16.onnx', 20: 'mask_20_fp16.onnx'}
    with pytest.raises(BundleError, match='has no int8 graphs, only fp16, fp32; add them with '
                       '.*training.export --bundle .* --also int8'):
        two_precisions.graphs_in('int8')


def test_graphs_of_a_variant_are_hashed_as_all_others(two_precisions):
    (two_precisions.folder / 'mask_20_fp16.onnx').write_bytes(b'tampered')
    with pytest.raises(BundleError, match='mask_20_fp16.onnx is not the one'):
        load_bundle(two_precisions.folder)


def test_a_manifest_without_variants_reads_as_one_precision(stand_in):
    path = stand_in.folder / 'model.yaml'
    manifest = yaml.safe_load(path.read_text())
    del manifest['variants']
    path.write_text(yaml.safe_dump(manifest))
    assert load_bundle(stand_in.folder) == stand_in and stand_in.precisions == ('fp32',)

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
import shutil
import subprocess
import sys

from conftest import ROOT
import cv2
import numpy as np
import pytest
from stages import DATA, formula_state
from tiny_training import TINY

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

from dataclasses import asdict, replace  # noqa: E402

from training import label  # noqa: E402
from training.bundling import graph  # noqa: E402
from training.checkpoints.checkpoint import Checkpoint, save_checkpoint  # noqa: E402
from training.checkpoints.released import read_released  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.data.shards import ShardSet, write_shard  # noqa: E402
from training.data.unlabelled import find_portions, SourceError  # noqa: E402
from training.labelling.labeler import Labeler  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.forward import Forward  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')



@pytest.fixture
def setting(tmp_path):
    """A labeler, a judge, seven photos, and a shard of three panoramas."""
    torch.manual_seed(0)
    labeler = build_network('pano_tiny', TINY)
    labeler.out.bias.data[4:] = 3.0         # the masks say "within": else few ranges are finite
    save_checkpoint(tmp_path / 'labeler', 'pano_tiny', asdict(labeler.config),
                    labeler.state_dict(), {})
    judge = build_network('discriminator', {'widths': [8, 8, 8]})
    save_checkpoint(tmp_path / 'judge', 'discriminator', asdict(judge.config),
                    judge.state_dict(), {})
    rng = np.random.default_rng(0)
    (tmp_path / 'photos' / 'more').mkdir(parents=True)
    (tmp_path / 'photos' / '.half.png').write_bytes(b'being written')
    for number in range(7):
        image = cv2.resize(rng.integers(0, 256, (4, 8, 3), dtype=np.uint8), (128, 64))
        folder = tmp_path / 'photos' / ('more' if number > 4 else '')
        cv2.imwrite(str(folder / f'{number}.png'), image)
    unknown = np.full((32, 64), np.nan, np.float32)
    (tmp_path / 'shards').mkdir()
    write_shard(tmp_path / 'shards' / 'a.tar', [
        Sample(rng.integers(0, 256, (32, 64, 3), dtype=np.uint8), unknown, np.isfinite(unknown),
               'home', 0.5) for _ in range(3)], {})
    return tmp_path


def words(folder, out):
    return ['--checkpoint', f'{folder}/labeler', '--quality', f'{folder}/judge', '--data',
            f'{folder}/photos', f'{folder}/shards', '--per-shard', '2', '--out', str(out)]


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}


def test_every_image_becomes_a_label_that_says_where_it_is_from(setting, capsys):
    assert label.main(words(setting, setting / 'out')) == 0
    assert '10 labels in 5 shards' in capsys.readouterr().out
    labels = ShardSet([setting / 'out'])
    samples = [labels[i] for i in range(len(labels))]
    assert [s.meta['name'] for s in samples] == [
        *(f'photos/{n}.png' for n in range(5)), 'photos/more/5.png', 'photos/more/6.png',
        *(f'shards/a.tar:a_{n:04d}' for n in range(3))]
    assert {s.meta['labeler'] for s in samples} == {
        label.sha256_of(setting / 'labeler' / 'checkpoint.safetensors')[:16]}
    assert len({s.meta['score'] for s in samples}) == 10
    assert [s.camera_height_m for s in samples] == [0] * 7 + [0.5] * 3
    assert samples[0].image.shape == (32, 64, 3) and samples[0].valid.mean() > 0.9
    assert (samples[0].range_m[samples[0].valid] < 100).all()


def test_the_robot_itself_gets_no_label(setting, capsys):
    picture = np.zeros((64, 128), np.uint8)
    picture[48:] = 255
    cv2.imwrite(str(setting / 'robot.png'), picture)
    masked = [*words(setting, setting / 'out'), '--body-mask', f'{setting}/robot.png']
    assert label.main(masked) == 0
    sample = ShardSet([setting / 'out'])[0]
    assert not sample.valid[24:].any() and sample.valid[:23].mean() > 0.9
    assert np.isnan(sample.range_m[24:]).all()
    assert label.main(words(setting, setting / 'out')) == 1
    assert 'was made with other body_mask' in capsys.readouterr().err
    cv2.imwrite(str(setting / 'robot.png'), picture[:, :90])
    assert label.main(masked) == 1
    assert 'does not fit the camera: image is 90 x 64 px' in capsys.readouterr().err


def in_two_processes(arguments):
    return subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         '-m', 'training.label', *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False)


def test_two_processes_write_the_same_bytes_as_one(setting):
    assert label.main(words(setting, setting / 'one')) == 0
    result = in_two_processes(words(setting, setting / 'two'))
    assert result.returncode == 0, result.stderr
    assert 'process 1: 2 shards' in result.stdout
    assert contents(setting / 'one') == contents(setting / 'two')
    shutil.copy(setting / 'photos/0.png', setting / 'photos/more/6.png')     # process 1 looks
    result = in_two_processes(words(setting, setting / 'two'))
    assert result.returncode == 1
    assert 'photos_00003.tar was made with other inputs' in result.stderr


def test_a_killed_run_continues_to_the_same_bytes(setting, monkeypatch, capsys):
    assert label.main(words(setting, setting / 'one')) == 0
    original, calls = label.label_panorama, []

    def killed_in_the_third_shard(*arguments):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(*arguments)
    monkeypatch.setattr(label, 'label_panorama', killed_in_the_third_shard)
    with pytest.raises(KeyboardInterrupt):
        label.main(words(setting, setting / 'two'))
    assert len(list((setting / 'two').glob('*.tar'))) == 2
    monkeypatch.setattr(label, 'label_panorama', original)
    assert label.main(words(setting, setting / 'two')) == 0
    assert '2 finished shards are kept' in capsys.readouterr().out
    (setting / 'two' / 'photos_00002.tmp').unlink(missing_ok=True)
    assert contents(setting / 'one') == contents(setting / 'two')


def test_labelling_leaves_the_arithmetic_of_its_process_as_it_was(setting, monkeypatch):
    def arithmetic():
        cudnn = torch.backends.cudnn
        return (torch.get_num_threads(), cv2.getNumThreads(), cudnn.benchmark,
                cudnn.deterministic)
    original, meanwhile, threads = label.label_panorama, set(), cv2.getNumThreads()

    def noted(*arguments):
        meanwhile.add(arithmetic())
        return original(*arguments)
    monkeypatch.setattr(label, 'label_panorama', noted)
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    try:
        before = arithmetic()
        assert label.main(words(setting, setting / 'out')) == 0
        (setting / 'out/shards_a.json').unlink()
        assert label.main(words(setting, setting / 'out')) == 1
        assert arithmetic() == before == (2, 2, True, False)
    finally:
        cv2.setNumThreads(threads)
    assert meanwhile == {(1, 1, False, True)}


def test_damaged_images_are_skipped_and_named_also_by_a_later_run(setting, capsys):
    (setting / 'photos' / '1.png').write_bytes(b'no picture')
    whole = (setting / 'photos' / '2.png').read_bytes()
    (setting / 'photos' / '2.png').write_bytes(whole[:len(whole) // 2])
    cv2.imwrite(str(setting / 'photos' / '3.png'), np.zeros((64, 96, 3), np.uint8))
    tar = bytearray((setting / 'shards' / 'a.tar').read_bytes())
    tar[512:700] = bytes(188)
    (setting / 'shards' / 'a.tar').write_bytes(tar)
    for _ in range(2):
        assert label.main(words(setting, setting / 'out')) == 0
        said = capsys.readouterr()
        assert '6 labels in 5 shards' in said.out and '4 skipped' in said.out
        assert '1.png' in said.err and '2.png is cut off' in said.err
        assert 'photos/3.png: panorama must be twice as wide as high, got 96 x 64' in said.err
        assert 'a.tar:a_0000.jpg is corrupt' in said.err


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a full device')
def test_a_full_disk_leaves_the_finished_shards(setting, capsys):
    (setting / 'out').mkdir()
    (setting / 'out' / 'photos_00002.tmp').symlink_to('/dev/full')
    assert label.main(words(setting, setting / 'out')) == 1
    assert 'photos_00002.tar cannot be written: No space left' in capsys.readouterr().err
    assert sorted(p.name for p in (setting / 'out').glob('*.t*')) == [
        'photos_00000.tar', 'photos_00001.tar']
    assert label.main(words(setting, setting / 'out')) == 0


def test_labels_of_another_network_or_source_are_not_mixed(setting, capsys):
    assert label.main(words(setting, setting / 'out')) == 0
    shutil.copy(setting / 'photos' / '0.png', setting / 'photos' / '00.png')
    assert label.main(words(setting, setting / 'out')) == 1
    assert 'photos_00000.tar was made with other inputs' in capsys.readouterr().err
    (setting / 'photos' / '00.png').unlink()
    other = build_network('pano_tiny', TINY)
    save_checkpoint(setting / 'labeler', 'pano_tiny', asdict(other.config), other.state_dict(), {})
    assert label.main(words(setting, setting / 'out')) == 1
    assert 'was made with other labeler' in capsys.readouterr().err


def test_a_folder_of_labels_is_of_one_command(setting, capsys):
    out = setting / 'out'

    def labelled(*sources, network='labeler'):
        folders = [f'{setting}/{name}' for name in sources]
        code = label.main(['--checkpoint', f'{setting}/{network}', '--data', *folders, '--out',
                           str(out)])
        return code, capsys.readouterr().err
    assert labelled('photos')[0] == 0
    other = build_network('pano_tiny', TINY)
    save_checkpoint(setting / 'other', 'pano_tiny', asdict(other.config), other.state_dict(), {})
    code, said = labelled('shards', network='other')
    assert code == 1 and f'{out}/photos_00000.tar was made with other labeler' in said
    code, said = labelled('shards')
    assert code == 1 and (
        f'{out}/photos_00000.tar holds labels of images that --data does not name; add their '
        'folder to --data, delete it, or choose another --out') in said
    assert [path.name for path in out.glob('*.tar')] == ['photos_00000.tar']
    kept = (out / 'photos_00000.tar').stat().st_mtime_ns
    assert labelled('photos', 'shards')[0] == 0         # one source more
    assert (out / 'photos_00000.tar').stat().st_mtime_ns == kept
    assert len(ShardSet([out])) == 10
    code, said = labelled('photos')                     # one less
    assert code == 1 and f'{out}/shards_a.tar holds labels of images' in said


def test_labels_of_other_images_under_the_same_names_are_not_mixed(setting, capsys):
    assert label.main(words(setting, setting / 'out')) == 0
    photo, shard = setting / 'photos/more/6.png', setting / 'shards/a.tar'
    for path, portion in ((photo, 'photos_00003'), (shard, 'shards_a')):
        keep = path.read_bytes()
        path.write_bytes(keep[:700] + bytes([keep[700] ^ 1]) + keep[701:])
        assert label.main(words(setting, setting / 'out')) == 1
        assert f'{portion}.tar was made with other inputs' in capsys.readouterr().err
        path.write_bytes(keep)
        assert label.main(words(setting, setting / 'out')) == 0
    photo.unlink()
    photo.symlink_to('nowhere')         # listed, but not there
    assert label.main(words(setting, setting / 'out')) == 1
    assert 'photos_00003.tar was made with other inputs' in capsys.readouterr().err


def test_a_shard_of_labels_without_its_record_is_named(setting, capsys):
    assert label.main(words(setting, setting / 'out')) == 0
    for spoil in (lambda record: record.write_text('{'), lambda record: record.unlink()):
        spoil(setting / 'out/shards_a.json')
        assert label.main(words(setting, setting / 'out')) == 1
        assert ('shards_a.tar has no readable shards_a.json; delete it'
                in capsys.readouterr().err)


def test_a_labeler_without_a_unit_is_refused(setting, monkeypatch, capsys):
    real = graph.make_graphs
    monkeypatch.setattr('training.labelling.labeler.make_graphs',
                        lambda *given: replace(real(*given), kind='scale_invariant'))
    assert label.main(words(setting, setting / 'out')) == 1
    assert (f'--checkpoint {setting}/labeler gives ranges without a unit; label with a metric '
            'network') in capsys.readouterr().err


def test_a_range_that_is_not_finite_is_no_label(setting, capsys):
    network = build_network('pano_tiny', TINY)
    network.out.bias.data[:] = np.nan
    save_checkpoint(setting / 'labeler', 'pano_tiny', asdict(network.config),
                    network.state_dict(), {})
    assert label.main(words(setting, setting / 'out')) == 1
    said = capsys.readouterr().err
    assert 'photos/0.png: the labeler gave a range that is not finite' in said
    assert f'no image under {setting}/photos could be labelled' in said


def test_wrong_folders_and_networks_are_one_line(setting, capsys):
    (setting / 'empty').mkdir()
    with pytest.raises(SourceError, match='no panorama under .*empty'):
        find_portions([setting / 'empty'])
    (setting / 'x' / 'photos').mkdir(parents=True)
    cv2.imwrite(str(setting / 'x/photos/0.png'), np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(SourceError, match=r'two folders .* write photos_00000\.tar'):
        find_portions([setting / 'photos', setting / 'x' / 'photos'])
    (setting / 'photos/backup.tar').write_bytes(b'')
    with pytest.raises(SourceError, match=r'photos holds 1 \*\.tar shards and 7 images \(backup'
                       r'\.tar, 0\.png, \.\.\.\); .* move the other to a folder of its own'):
        find_portions([setting / 'photos'])
    (setting / 'photos/backup.tar').unlink()
    file = setting / 'photos/0.png'
    assert label.main(words(setting, file)) == 1
    assert f'--out {file} cannot be made: File exists; choose another' in capsys.readouterr().err
    swapped = words(setting, setting / 'out')
    swapped[3] = swapped[1]
    assert label.main(swapped) == 1
    assert "labeler is a 'pano_tiny'; give what training.discriminate" in capsys.readouterr().err


def test_a_source_without_any_good_image_stops_with_its_name(setting, capsys):
    for photo in (setting / 'photos').rglob('*.png'):
        photo.write_bytes(b'')
    assert label.main(['--checkpoint', f'{setting}/labeler', '--data', f'{setting}/photos',
                       '--out', f'{setting}/out']) == 1
    remedy = f'delete its shards under {setting}/out, and mend it or leave it out of --data'
    said = f'error: no image under {setting}/photos could be labelled; {remedy}\n'
    assert capsys.readouterr().err.endswith(said)
    assert json.loads((setting / 'out/photos_00000.json').read_text())['images'] == 0
    assert label.main(words(setting, setting / 'more')) == 1        # the shard beside it is sound
    assert capsys.readouterr().err.endswith(said.replace('/out,', '/more,'))
    assert len(ShardSet([setting / 'more'])) == 3


def test_a_network_that_gives_no_range_cannot_label(setting, capsys):
    swapped = words(setting, setting / 'out')
    swapped[1] = swapped[3]
    assert label.main(swapped) == 1
    assert 'PatchDiscriminator cannot be exported' in capsys.readouterr().err


def test_separate_mask_heads_label_as_the_network_that_was_trained():
    config = {'encoder': 'vits', 'range_masks_m': [10.0, 100.0]}
    torch.manual_seed(0)
    network = build_network('dap', config).eval()
    labeler = Labeler(Checkpoint('dap', config, network.state_dict(),
                                 {'config': {'size_hw': [64, 128]}}))
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    range_m, masks = labeler.outputs(image)
    with torch.no_grad():
        wanted = Forward(network)(
            torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, torch.zeros(1))
    np.testing.assert_allclose(range_m, wanted.log_range[0].exp(), rtol=1e-5)
    np.testing.assert_allclose(masks, wanted.mask_logits[0].sigmoid(), atol=1e-6)
    found = labeler.label(image).range_m
    np.testing.assert_array_equal(np.isfinite(found), (range_m < 100) & (masks[1] > 0.5))


def test_a_released_checkpoint_labels(setting, monkeypatch, capsys):
    monkeypatch.setattr(graph, 'RELEASED_SIZE_DAP', (64, 128))       # 512 x 1024 takes seconds
    state = formula_state(DATA / 'dap_vits_state_dict.json', 1)
    torch.save(state, setting / 'model.pth')
    photos = setting / 'photos/more'
    words = ['--checkpoint', f'{setting}/model.pth', '--data', f'{photos}', '--out',
             f'{setting}/labels']
    assert label.main(words) == 1 and 'cannot read' in capsys.readouterr().err
    assert label.main([*words, '--network', 'dap']) == 0
    labels = ShardSet([setting / 'labels'])
    labeler = Labeler(read_released(setting / 'model.pth', 'dap')[0])
    image = cv2.imread(str(photos / '5.png'))[..., ::-1]
    wanted = labeler.label(np.ascontiguousarray(image)).range_m
    np.testing.assert_allclose(labels[0].range_m, wanted, rtol=1e-3)      # shards hold float16
    assert len(labels) == 2 and np.isfinite(wanted).any()


def test_what_a_damaged_shard_has_lost_is_named(setting, capsys):
    shard = setting / 'shards' / 'a.tar'
    whole = shard.read_bytes()
    header = whole.index(b'a_0002.jpg')
    shard.write_bytes(whole[:header])
    words = ['--checkpoint', f'{setting}/labeler', '--data', f'{setting}/shards', '--out',
             f'{setting}/out']
    assert label.main(words) == 0
    captured = capsys.readouterr()
    assert '2 labels in 1 shards' in captured.out
    assert 'a.tar is damaged after 6 members' in captured.out + captured.err


def test_where_looks_disagree_the_label_is_unknown_and_elsewhere_their_mean(setting):
    from training.checkpoints.checkpoint import load_checkpoint
    labeler = Labeler(load_checkpoint(setting / 'labeler'))
    image = labeler.resized(np.random.default_rng(2).integers(0, 256, (32, 64, 3), np.uint8))
    strict, _ = labeler.agreed(image, 1.0, 0.0)
    loose, masks = labeler.agreed(image, 1.0, 100.0)
    assert np.isnan(strict).mean() > 0.9 and np.isfinite(loose).all()
    assert masks.shape[1:] == loose.shape
    mirrored, _ = labeler.agreed(np.ascontiguousarray(image[:, ::-1]), 1.0, 100.0)
    again, _ = labeler.outputs(image, 1.0)
    assert (np.abs(np.log(loose / mirrored[:, ::-1])) < np.abs(np.log(loose / again)).max()).all()
    assert np.isnan(labeler.label(image, 1.0, 1e-9).range_m).mean() > 0.9


def test_labels_of_other_options_are_refused_and_an_assumed_height_is_kept(setting, capsys):
    out = setting / 'labels'
    asked = [*words(setting, out), '--camera-height', '1.5']
    assert label.main(asked) == 0
    heights = {ShardSet([shard])[0].camera_height_m for shard in out.glob('*.tar')}
    assert heights == {1.5, 0.5}            # the shard's own height stays
    assert label.main(words(setting, out)) == 1
    assert 'camera_height' in capsys.readouterr().err

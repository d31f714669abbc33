# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import resource
import signal
import socket
import time

import numpy as np
import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('accelerate')

from training_setting import CONFIGS, room_sample, Setting, weights_of  # noqa: E402

from training import train  # noqa: E402
from training.checkpoints.checkpoint import build, load_checkpoint  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.config import config_from_dict, TrainError  # noqa: E402
from training.run.folder import RunFolder, Snapshot  # noqa: E402
from training.run.optimise import parameter_groups  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def run(tmp_path):
    return Setting(tmp_path)


# --- a run and what it leaves

def test_a_short_run_learns_and_leaves_a_checkpoint_that_loads(run):
    assert run('a', 30, '--val', f'seen={run.folder}/data') == 0
    losses = run.losses('a')
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    checkpoint = load_checkpoint(run.folder / 'a' / 'checkpoint.safetensors')
    about = checkpoint.provenance
    assert checkpoint.network == 'pano_tiny' and about['step'] == 30 and about['samples'] == 90
    assert about['data'] == ['data: 1 shards, 00000.tar to 00000.tar']
    assert about['config']['seed'] == 1 and about['config']['loss'] == {} and about['commit']
    build_network(checkpoint.network, checkpoint.config).load_state_dict(checkpoint.state)
    assert list((run.folder / 'a').glob('seen_*.jpg'))
    assert 0 <= run.entries('a')[-1]['wait_share'] <= 1


def test_tensorboard_holds_scalars_and_pictures(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    assert run('a', 2, '--val', f'seen={run.folder}/data') == 0
    events = EventAccumulator(str(run.folder / 'a' / 'tensorboard'))
    events.Reload()
    assert {'train/loss', 'train/gradient', 'val_seen/aligned'} <= set(events.Tags()['scalars'])
    assert [round(e.value, 5) for e in events.Scalars('train/loss')] == [
        round(loss, 5) for loss in run.losses('a')]
    assert events.Tags()['images'] == ['seen']


@pytest.mark.parametrize('name', ['pano_tiny', 'pano_tiny_gpu', 'pano_small', 'dap', 'da2',
                                  'pano_base', 'pano_base_end', 'pano_base_put',
                                  'pano_base_panes', 'pano_base_panes_end', 'pano_base_grid',
                                  'pano_tiny_lite', 'pano_tiny_real', 'pano_tiny_student',
                                  'pano_tiny_student_end'])
def test_shipped_configs_are_read_and_fit_their_network(name):
    config = train.read_config(CONFIGS / f'{name}.yaml')
    with torch.device('meta'):
        network = build_network(config.network, config.model)
    groups = parameter_groups(network, config)
    assert sum(p.numel() for g in groups for p in g['params']) == sum(
        p.numel() for p in network.parameters())
    if name == 'pano_small':
        assert 20e6 < sum(p.numel() for p in network.parameters()) < 30e6


# --- resuming

def test_a_killed_run_continues_with_the_identical_losses(run):
    run.write_config(save_minutes=0, ema=0.9)
    assert run('whole', 12) == 0
    process = run.launch('-m', 'training.train', *run.words('parts', 12))
    resume = run.folder / 'parts' / 'resume.pt'
    deadline = time.monotonic() + 240
    while not resume.exists() or len(run.entries('parts')) < 4:
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(run.entries('parts'))
    saved = torch.load(resume, weights_only=True)['step']
    assert 0 < saved <= before < 12
    assert run('parts', 12) == 0
    whole = {entry['step']: entry['loss'] for entry in run.entries('whole')}
    again = run.entries('parts')
    assert [e['step'] for e in again] == list(range(1, 13))     # each once
    assert all(entry['loss'] == whole[entry['step']] for entry in again)
    for name, tensor in weights_of(run.folder / 'whole').items():
        assert torch.equal(tensor, weights_of(run.folder / 'parts')[name]), name


def test_data_processes_change_nothing(run):
    run.write_config(workers=0)
    assert run('none', 8) == 0
    run.write_config(workers=2, cache_gib=0.001)      # 1 MiB: all 12 samples
    assert run('two', 8) == 0
    assert run.losses('none') == run.losses('two')


@pytest.mark.parametrize('gib', [4 * 10245 / 2 ** 30, 1.0])
def test_kept_samples_are_those_of_the_shards(run, gib):
    from training.data.shards import ShardSet
    from training.run.decoded import Decoded
    shards = ShardSet([run.folder / 'data'])
    decoded = Decoded(shards, 32, gib)
    assert decoded.kept == min(12, int(gib * 2 ** 30 / 10245)) and len(decoded) == 12
    for _ in range(2):
        for index in range(12):
            kept, read = decoded[index], shards[index]
            np.testing.assert_array_equal(kept.image, read.image)
            np.testing.assert_array_equal(kept.range_m, read.range_m)
            assert kept.camera_height_m == pytest.approx(read.camera_height_m)
            kept.image[:] = 0                         # what is done to a sample stays with it


def learned(folder):
    """Return all that a run has learned, from the first weights on, as one vector."""
    torch.manual_seed(1)
    first = build_network('pano_tiny', TINY).state_dict()
    return torch.cat([(weight - first[name]).ravel() for name, weight in weights_of(folder).items()
                      if 'running' not in name and 'num_batches' not in name])


def one_machine(port):
    return [['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']]


def two_machines(port):
    return [['-m', 'accelerate.commands.launch', '--multi_gpu', '--num_machines', '2',
             '--num_processes', '2', '--machine_rank', str(rank), '--main_process_ip',
             '127.0.0.1', '--main_process_port', str(port)] for rank in (0, 1)]


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


@pytest.mark.parametrize('precision, share, launchers', [
    ('no', 1e-3, one_machine),
    pytest.param('bf16', 0.05, one_machine, marks=pytest.mark.slow),
    pytest.param('no', 1e-3, two_machines, marks=pytest.mark.slow)])
def test_two_processes_equal_one_that_accumulates(run, port, precision, share, launchers):
    run.write_config(batch=2, accumulate=2, mixed_precision=precision)
    assert run('one', 4) == 0
    run.write_config(batch=2, accumulate=1, mixed_precision=precision)
    assert run('half', 4) == 0
    launched = [run.launch(*words, '-m', 'training.train', *run.words('two', 4))
                for words in launchers(port)]
    for process in launched:
        output = process.communicate()[0]
        assert process.returncode == 0, output
    about = load_checkpoint(run.folder / 'two' / 'checkpoint.safetensors').provenance
    assert about['processes'] == 2 and about['samples'] == 16
    one, half, two = (learned(run.folder / out) for out in ('one', 'half', 'two'))
    assert (two - one).norm() < share * one.norm()
    assert (half - one).norm() > 0.5 * one.norm()       # half of the images is another way


def test_a_launch_whose_processes_do_not_know_each_other_is_refused(run, port):
    words = [word if word != '--multi_gpu' else '--cpu' for word in two_machines(port)[1]]
    process = run.launch(*words, '-m', 'training.train', *run.words('two', 4))
    assert 'this one knows of no other; give it --multi_gpu' in process.communicate()[0]
    assert process.returncode == 1 and not (run.folder / 'two').exists()


def test_a_folder_that_another_training_writes_is_left_alone(run, capsys):
    assert run('a', 1) == 0
    other = run.launch('-c', 'import sys; from pathlib import Path; '
                       'from training.run.folder import RunFolder; '
                       'held = RunFolder(Path(sys.argv[1]), silent=False); '
                       'print("held", flush=True); '
                       'import time; time.sleep(200)', str(run.folder / 'a'))
    try:
        assert other.stdout.readline() == 'held\n'
        assert run('a', 2) == 1
        told = capsys.readouterr().err
        assert told.startswith(f'error: another training writes into {run.folder}/a; wait for ')
        assert len(run.losses('a')) == 1
    finally:
        other.kill()
        other.wait()
    assert run('a', 2) == 0


def test_a_larger_batch_of_images_is_the_mean_of_its_parts(run):
    """Without batch norm, accumulating two batches of 2 is one step on their 4 images."""
    from training.run.batches import Batches, Sources
    from training.run.forward import Forward
    from training.run.objectives import make_objective
    config = config_from_dict({'network': 'pano_tiny', 'model': TINY, 'batch': 2})
    torch.manual_seed(0)
    forward = Forward(build_network('pano_tiny', TINY)).eval()
    cpu = torch.device('cpu')
    objective = make_objective(config, (32, 64), forward.range_masks_m, True, False, cpu)
    batches = Batches(Sources([run.folder / 'data']), config, (32, 64), 100)
    parts = [batches[k].on(cpu) for k in (0, 1)]
    both = parts[0]._replace(**{name: torch.cat([getattr(part, name) for part in parts])
                                for name in ('image', 'range_m', 'told_height_m', 'height_m')})
    each = [objective(forward(b.image, b.told_height_m), b)[0] for b in (*parts, both)]
    assert each[2].item() == pytest.approx((each[0] + each[1]).item() / 2, rel=1e-5)


# --- what goes wrong

def test_a_corrupt_sample_is_skipped_counted_and_named(run, capsys):
    tar = run.folder / 'data' / '00000.tar'
    data = bytearray(tar.read_bytes())
    data[512:700] = b'\0' * 188         # the first JPEG
    tar.write_bytes(data)
    (run.folder / 'data' / '00001.tar').write_bytes(b'no tar' * 99)
    assert run('a', 12) == 0
    told = capsys.readouterr().err
    assert '2 corrupt' in told and '00000_0000' in told and '00001.tar' in told
    counts = run.entries('a', 'skipped')[0]['skipped']
    assert len(counts) == 2 and max(counts.values()) > 1


def test_data_without_valid_pixel_stops_with_its_name(run, capsys):
    (run.folder / 'bad').mkdir()
    sample = room_sample(np.random.default_rng(0))
    sample.range_m[:], sample.valid[:] = np.nan, False
    write_shard(run.folder / 'bad' / '00000.tar', [sample] * 3, {})
    assert run('a', 3, '--data', run.folder / 'data', run.folder / 'bad') == 1
    assert f'data set {run.folder}/bad has no valid pixel' in capsys.readouterr().err


def test_data_is_drawn_by_weight(run):
    from training.run.batches import Sources
    (run.folder / 'dark').mkdir()
    sample = room_sample(np.random.default_rng(0))
    sample.image[:] = 0
    write_shard(run.folder / 'dark' / '00000.tar', [sample] * 2, {})
    sources = Sources([f'{run.folder}/data=3', f'{run.folder}/dark=1'])
    rng = np.random.default_rng(0)
    dark = np.mean([sources.draw(rng).image.max() == 0 for _ in range(400)])
    assert dark == pytest.approx(0.25, abs=0.06)
    with pytest.raises(TrainError, match='to every source'):
        Sources([f'{run.folder}/data=3', run.folder / 'dark'])


def test_absurd_learning_rate_ends_with_a_message_and_a_good_checkpoint(run, capsys):
    run.write_config(save_minutes=0)
    assert run('a', 4) == 0
    good = weights_of(run.folder / 'a')
    run.write_config(save_minutes=0, learning_rate=1e30)
    assert run('a', 100) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert 'gradients in a row are not finite' in message
    assert 'lower learning_rate (1e+30)' in message
    assert f'the checkpoint of step 4 is kept in {run.folder}/a' in message
    for name, tensor in weights_of(run.folder / 'a').items():
        assert torch.isfinite(tensor.float()).all() and torch.equal(tensor, good[name])


def test_weights_that_are_not_finite_are_never_saved(run, capsys):
    assert run('a', 2) == 0
    path = run.folder / 'a' / 'resume.pt'
    state = torch.load(path, weights_only=True)
    state['model']['out.bias'][0] = float('nan')
    torch.save(state, path)
    run.write_config(save_minutes=0)
    assert run('a', 100) == 1
    assert 'are not finite' in capsys.readouterr().err
    assert all(torch.isfinite(t.float()).all() for t in weights_of(run.folder / 'a').values())


def test_one_bad_step_is_skipped_and_leaves_no_trace_in_the_statistics():
    from training.run.optimise import restore_statistics
    network = build_network('pano_tiny', TINY)
    ema = build_network('pano_tiny', TINY)
    network.stem.norm.running_mean[0] = float('nan')
    restore_statistics(network, ema)
    assert torch.isfinite(network.stem.norm.running_mean).all()


def test_out_of_memory_is_one_line_that_names_the_remedy(run):
    run.write_config(batch=64, model=TINY | {'size_hw': [256, 512], 'stem': 64})
    limit = ('import resource, sys, torch; from training import train; '
             'import torch.utils.tensorboard; used = int(open("/proc/self/statm").read().split()'
             '[0]) * 4096; resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2); '
             'sys.exit(train.main(sys.argv[1:]))')
    process = run.launch('-c', limit, *run.words('a', 2))
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 1
    last = output.splitlines()[-1]
    assert last.startswith('error: out of memory on cpu with batch 64; lower batch and raise')
    assert 'nothing was saved yet' in last


def test_full_disk_keeps_the_old_checkpoint(run):
    """A limit on the size of files stands for the disk; the second write is that of torch."""
    assert run('a', 2) == 0
    folder = RunFolder(run.folder / 'a', silent=False)
    state, config = folder.resume(), load_checkpoint(folder.path).config
    before = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (4096, len(before['checkpoint.safetensors']) + 4096):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            with pytest.raises(TrainError, match='cannot write .* checkpoint of step 2 is kept'):
                folder.save(Snapshot('pano_tiny', config, state, {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    assert after.keys() == before.keys() and after['resume.pt'] == before['resume.pt']
    build(load_checkpoint(folder.path))


def test_damaged_resume_file_is_named(run, capsys):
    assert run('a', 1) == 0
    (run.folder / 'a' / 'resume.pt').write_bytes(b'half')
    assert run('a', 2) == 1
    assert 'resume.pt is damaged; delete it' in capsys.readouterr().err


@pytest.mark.parametrize('change, message', [
    ({'objectiv': 'pano'}, "unknown field 'objectiv'"),
    ({'objective': 'dpa'}, "objective 'dpa' does not exist; there are: pano, dap, da2"),
    ({'loss': {'silgo': 1.0}}, "loss 'silgo' does not exist"),
    ({'loss': {'distil': 1.0}}, "loss 'distil' needs an output"),
    ({'learning_rate': '1e-3'}, "learning_rate must be float, got the text '1e-3'"),
    ({'batch': 0}, 'batch must be at least 1'),
    ({'mixed_precision': 'fp8'}, "mixed_precision 'fp8' does not exist"),
    ({'size_hw': [64, 128]}, r'size_hw \(64, 128\) differs from \(32, 64\) of the network'),
])
def test_wrong_config_is_one_line(run, capsys, change, message):
    run.write_config(**change)
    assert run('a', 1) == 1
    told = capsys.readouterr().err
    assert told.startswith('error: ') and told.count('\n') == 1
    import re
    assert re.search(message, told)


def test_a_score_that_is_not_known_is_null_in_the_log(tmp_path):
    folder = RunFolder(tmp_path, silent=False)
    folder.log(1, {'val': 'mixed', 'missed': float('nan'), 'aligned': 0.5})
    folder.close()
    assert (tmp_path / 'log.jsonl').read_text() == (
        '{"step": 1, "val": "mixed", "missed": null, "aligned": 0.5}\n')


def test_wrong_validation_set_is_one_line(run, capsys):
    assert run('a', 1, '--val', 'shards') == 1
    assert capsys.readouterr().err == "error: --val 'shards' is not NAME=FOLDER\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason='fp16 runs on this machine')
def test_fp16_on_the_cpu_is_refused(run, capsys):
    run.write_config(mixed_precision='fp16')
    assert run('a', 1) == 1
    assert 'fp16 needs a GPU' in capsys.readouterr().err


def test_absent_config_is_one_line(tmp_path, capsys):
    words = ['--data', str(tmp_path), '--out', str(tmp_path), '--steps', '1', '--config']
    assert train.main([*words, str(tmp_path / 'none.yaml')]) == 1
    assert 'none.yaml does not exist' in capsys.readouterr().err
    (tmp_path / 'empty.yaml').write_text('seed: 1\n')
    assert train.main([*words, str(tmp_path / 'empty.yaml')]) == 1
    assert "no 'network'" in capsys.readouterr().err

import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('safetensors')

from training import train  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.sample import Sample  # noqa: E402

TINY = {'size_hw': [32, 64], 'stem': 8, 'widths': [8, 8, 16, 14], 'blocks': [1, 1, 1, 1],
        'decoder': [8, 8, 8, 8]}


def room_sample(rng):
    """A floor at a random height below a grey sky, brightness tells the range."""
    height = rng.uniform(0.2, 2)
    range_m = np.full((32, 64), np.inf, np.float32)
    rows = np.arange(16) + 0.5
    range_m[16:] = (height / np.sin(rows / 32 * np.pi))[:, None]
    shade = np.where(np.isfinite(range_m), 255 / (1 + np.minimum(range_m, 1e3)), 200)
    image = np.repeat(shade.astype(np.uint8)[..., None], 3, -1)
    return Sample(image, range_m, np.isfinite(range_m), 'test', float(height))


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of tiny steps wait for each other, minutes long where the cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def setting(tmp_path):
    """A config file, a folder of 12 samples, and the arguments of a run of some steps."""
    config = yaml.safe_load(
        (train.Path(train.__file__).parent / 'configs' / 'pano_tiny.yaml').read_text())
    config |= {'model': TINY, 'batch': 3, 'warmup_steps': 2, 'bf16': False, 'evaluate_images': 4}
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
    rng = np.random.default_rng(0)
    (tmp_path / 'data').mkdir()
    write_shard(tmp_path / 'data' / '00000.tar', [room_sample(rng) for _ in range(12)], {})

    def run(out, steps, *more):
        return train.main(['--config', str(tmp_path / 'config.yaml'), '--data',
                           str(tmp_path / 'data'), '--out', str(tmp_path / out), '--steps',
                           str(steps), *more])
    return tmp_path, run


def losses_of(folder):
    entries = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    return [e['loss'] for e in entries if 'loss' in e]


def test_a_short_run_learns_and_leaves_a_checkpoint_that_loads(setting):
    folder, run = setting
    assert run('a', 30, '--val', f'seen={folder}/data') == 0
    losses = losses_of(folder / 'a')
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    checkpoint = load_checkpoint(folder / 'a' / 'checkpoint.safetensors')
    assert checkpoint.network == 'pano_tiny'
    assert checkpoint.provenance['step'] == 30 and checkpoint.provenance['samples'] == 90
    assert checkpoint.provenance['data'] == ['data: 1 shards, 00000.tar to 00000.tar']
    assert checkpoint.provenance['config']['seed'] == 1 and checkpoint.provenance['commit']
    build_network(checkpoint.network, checkpoint.config).load_state_dict(checkpoint.state)
    assert list((folder / 'a').glob('seen_*.jpg'))


def test_a_killed_run_continues_with_the_same_losses(setting, monkeypatch):
    folder, run = setting
    assert run('whole', 6) == 0
    original, saves = train.save_atomically, []
    monkeypatch.setattr(train, 'reestimate_statistics', lambda *a, **k: None)

    def kill_after_save(path, state):
        original(path, state)
        saves.append(state['step'])
        raise KeyboardInterrupt
    monkeypatch.setattr(train, 'save_atomically', kill_after_save)
    text = (folder / 'config.yaml').read_text()
    (folder / 'config.yaml').write_text(text.replace('save_minutes: 3', 'save_minutes: 0'))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run('parts', 6)
    monkeypatch.setattr(train, 'save_atomically', original)
    assert run('parts', 6) == 0
    assert saves == [1, 2, 3]
    np.testing.assert_allclose(losses_of(folder / 'parts'), losses_of(folder / 'whole'), rtol=1e-4)


def test_a_corrupt_sample_is_named_and_replaced(setting, capsys):
    folder, run = setting
    tar = folder / 'data' / '00000.tar'
    data = bytearray(tar.read_bytes())
    data[512:700] = b'\0' * 188         # the first JPEG
    tar.write_bytes(data)
    assert run('a', 12) == 0
    assert '00000_0000' in capsys.readouterr().err


def test_schedule_ends_by_steps_time_or_deadline(monkeypatch):
    def schedule(*words):
        return train.Schedule(train.parse_args(
            ['--config', 'c', '--data', 'd', '--out', 'o', *words]))
    assert schedule('--steps', '10').progress(5, 1e9) == 0.5
    assert schedule('--minutes', '2').progress(10 ** 9, 60) == 0.5
    by_clock = schedule('--deadline', '12:00')
    monkeypatch.setattr(train.time, 'time', lambda: by_clock.end - 300)
    assert by_clock.progress(0, 900) == 0.75
    monkeypatch.setattr(train.time, 'time', lambda: by_clock.end + 1)
    assert by_clock.progress(0, 900) == 1
    with pytest.raises(train.TrainError, match='exactly one'):
        schedule()


def test_rate_warms_up_and_falls_to_zero():
    config = {'learning_rate': 1.0, 'warmup_steps': 4}
    assert train.learning_rate(config, 0, 0.0) == 0.25
    assert train.learning_rate(config, 100, 0.5) == pytest.approx(0.5)
    assert train.learning_rate(config, 100, 1.2) == pytest.approx(0)


def test_wrong_config_is_one_line(tmp_path, capsys):
    words = ['--data', str(tmp_path), '--out', str(tmp_path), '--steps', '1', '--config']
    assert train.main([*words, str(tmp_path / 'none.yaml')]) == 1
    assert 'none.yaml does not exist' in capsys.readouterr().err
    (tmp_path / 'empty.yaml').write_text('seed: 1\n')
    assert train.main([*words, str(tmp_path / 'empty.yaml')]) == 1
    assert "no 'network'" in capsys.readouterr().err

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from tiny_training import kill_after_training, MICRO

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('accelerate')

from training import ablate  # noqa: E402
from training.ablate import CONFIGS, data_of, merged, read_table, row_config  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.labelling import ablation_table  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')

TABLES = ('da2_losses', 'dap_losses', 'masks', 'data_scaling', 'sphere_embedding', 'seam')


def room(rng):
    """A floor at a random height below a wall, brightness tells the range."""
    range_m = np.full((32, 64), 5.0, np.float32)
    range_m[16:] = (rng.uniform(0.2, 2) / np.sin((np.arange(16) + 0.5) / 32 * np.pi))[:, None]
    image = np.repeat((255 / (1 + range_m)).astype(np.uint8)[..., None], 3, -1)
    return Sample(image, range_m, np.isfinite(range_m), 'room', 1.0)


@pytest.fixture
def words(tmp_path):
    """The arguments of a masks table that takes seconds."""
    rng = np.random.default_rng(0)
    (tmp_path / 'data').mkdir()
    write_shard(tmp_path / 'data' / '00000.tar', [room(rng) for _ in range(4)], {})
    (tmp_path / 'micro.yaml').write_text(yaml.safe_dump(MICRO))
    return ['--table', 'masks', '--config', f'{tmp_path}/micro.yaml', '--data',
            f'{tmp_path}/data', '--val', f'{tmp_path}/data', '--steps', '1', '--seeds', '1',
            '--out', f'{tmp_path}/out']


def test_a_table_has_every_row_and_a_killed_one_goes_on(words, tmp_path, monkeypatch, capsys):
    original, trained = ablate.train.train, []

    def killed_in_row_3(args):
        trained.append(args.out.parent.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        original(args)
    monkeypatch.setattr(ablate.train, 'train', killed_in_row_3)
    with pytest.raises(KeyboardInterrupt):
        ablate.main(words)
    assert ablate.main(words) == 0
    assert trained == ['10_m', '20_m', '50_m', '50_m', '100_m', 'none']
    table = (tmp_path / 'out/masks/table.md').read_text()
    assert table in capsys.readouterr().out
    rows = [[c.strip() for c in line.split('|')[1:-1]] for line in table.splitlines()
            if line.startswith('|')]
    assert [r[0] for r in rows[2:]] == ['10 m', '20 m', '50 m', '100 m', 'none']
    assert rows[0][1:3] == ['AbsRel', 'δ1'] and rows[0][4] == 'AbsRel DAP-2M (the paper)'
    assert rows[2][4] == '0.0801' and 0 < float(rows[2][1]) < 20
    assert 'One seed: the noise is not known' in table
    result = json.loads((tmp_path / 'out/masks/10_m/seed_1/result.json').read_text())
    assert result['config']['model']['range_masks_m'] == [10.0] and result['commit']
    assert result['scores']['none']['abs_rel'] == pytest.approx(float(rows[2][1]), abs=1e-4)


def other(words, option, value):
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1:]]


def test_a_finished_row_of_other_arguments_is_refused(words, tmp_path, capsys):
    assert ablate.main(words) == 0
    for option, value, differs in (('--steps', '2', 'steps 1 (now 2)'),
                                   ('--val', f'{tmp_path}/x', f"(now ['{tmp_path}/x'])")):
        assert ablate.main(other(words, option, value)) == 1
        said = capsys.readouterr().err
        assert '10_m/seed_1 holds the work of another job: ' in said and differs in said
    record = tmp_path / 'out/masks/10_m/seed_1/result.json'
    result = json.loads(record.read_text())
    record.write_text(json.dumps({k: v for k, v in result.items() if k != 'val'}))
    (record.parent / 'job.json').unlink()
    assert ablate.main(words) == 0              # as it was before --val was recorded


@pytest.mark.slow
def test_a_killed_row_does_not_go_on_as_another(words, tmp_path, monkeypatch, capsys):
    kill_after_training(monkeypatch, ablate, words)
    (tmp_path / 'other.yaml').write_text(yaml.safe_dump({**MICRO, 'batch': 2}))
    for option, value, differs in (
            ('--steps', '2', 'steps 1 (now 2)'), ('--data', f'{tmp_path}/x', f"{tmp_path}/x'])"),
            ('--config', f'{tmp_path}/other.yaml', 'config.batch 3 (now 2)')):
        assert ablate.main(other(words, option, value)) == 1
        said = capsys.readouterr().err
        assert '10_m/seed_1 holds the work of another job: ' in said and differs in said
    (tmp_path / 'out/masks/10_m/seed_1/job.json').unlink()
    assert ablate.main(words) == 0              # as it was before job.json


@pytest.mark.slow
def test_a_row_that_never_began_binds_to_nothing(words, tmp_path, capsys):
    assert ablate.main(other(words, '--data', f'{tmp_path}/x')) == 1
    assert 'x does not exist; give folders of shards' in capsys.readouterr().err
    assert ablate.main(words) == 0


@pytest.mark.parametrize('name', TABLES)
def test_every_row_of_every_table_is_a_valid_config(name):
    base = {'seam': 'small_dap', 'da2_losses': 'small_da2', 'sphere_embedding': 'small_da2'}
    config = yaml.safe_load((CONFIGS / f'{base.get(name, "small")}.yaml').read_text())
    table = read_table(name)
    from training.networks import make_config, network_classes
    from training.run.objectives import make_objective
    for row in table.rows:
        run = row_config(row, 3, config)
        model = make_config(network_classes(run.network)[1], run.model)
        objective = make_objective(
            run, (32, 64), getattr(model, 'range_masks_m', ()), run.network == 'pano_tiny', False,
            torch.device('cpu'))
        off = [term for term, weight in run.loss.items() if not weight]
        assert run.seed == 3 and objective.weights and not set(off) & set(objective.weights)
    assert len({json.dumps(row_config(r, 1, config).as_dict()) for r in table.rows}) == (
        1 if name == 'data_scaling' else len(table.rows) - (name == 'da2_losses'))


def test_changes_are_merged_into_loss_and_model():
    base = {'batch': 8, 'loss': {'normal': 2, 'points': 2}}
    assert merged(base, {'loss': {'normal': 0}, 'batch': 4}) == {
        'batch': 4, 'loss': {'normal': 0, 'points': 2}}
    assert base['loss']['normal'] == 2


def test_data_scaling_takes_the_first_sources_and_other_data_is_asked_for():
    rows = {row.name: row for row in read_table('data_scaling').rows}
    assert data_of(rows['2 sources'], ['a', 'b', 'c'], {}) == ['a', 'b']
    assert data_of(rows['4 sources'], ['a', 'b', 'c'], {}) == []
    row = read_table('da2_losses').rows[0]
    assert data_of(row, ['a'], {}) == [] and data_of(row, ['a'], {row.name: 'x'}) == ['x']


def test_the_noise_is_the_mean_difference_of_two_seeds():
    table = read_table('seam')
    found = {row.name: [{'scores': {'none': {'abs_rel': value, 'seam_ratio': 1.0},
                                    'median': {'abs_rel': value}}} for value in pair]
             for row, pair in zip(table.rows, ((0.2, 0.4), (0.3, 0.3), (0.5, 0.1)))}
    assert ablation_table.noise(table, found, 'AbsRel') == pytest.approx(0.2)
    text = ablation_table.markdown(table, found, ['weight 9'])
    assert '| without | 0.3000 ± 0.1000 | 0.3000 ± 0.1000 | 1.0000 ± 0.0000 |' in text
    assert 'AbsRel 0.2000' in text and 'the paper' not in text
    assert 'Left out, for want of data: weight 9.' in text


@pytest.mark.parametrize('text, message', [
    ('loss: [1, 2', 'is no YAML: '),
    ('- network', "has no 'network'; see training/configs"),
    (None, 'does not exist; see training/configs')])
def test_a_config_that_cannot_be_read_is_one_line(words, tmp_path, capsys, text, message):
    path = tmp_path / 'other.yaml'
    if text:
        path.write_text(text)
    assert ablate.main(other(words, '--config', str(path))) == 1
    told = capsys.readouterr().err
    assert told.startswith(f'error: config {path} {message}') and told.count('\n') == 1


@pytest.mark.parametrize('word', ['x', '=x', 'x='])
def test_row_data_without_row_or_source_is_one_line(words, capsys, word):
    assert ablate.main([*words, '--row-data', word]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f'error: --row-data {word!r} is not ROW=SOURCE') and (
        told.count('\n') == 1)


def test_row_data_of_a_row_that_does_not_exist_is_refused(words, capsys):
    assert ablate.main([*words, '--row-data', '30 m=x']) == 1
    assert capsys.readouterr().err == (
        "error: --row-data '30 m' is no row of masks; there are: 10 m, 20 m, 50 m, 100 m, none\n")


def test_an_unknown_table_names_those_that_exist(words, capsys):
    words[1] = 'nothing'
    assert ablate.main(words) == 1
    assert f"no table 'nothing'; there are: {', '.join(sorted(TABLES))}" in (
        capsys.readouterr().err)

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Going on with a run: the same one or none; nothing of it is forgotten."""

from collections import Counter
import re
import shutil

import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('safetensors')
pytest.importorskip('accelerate')

from damage import damage_image, flip, header_of  # noqa: E402
from training_setting import Setting  # noqa: E402

from training import train  # noqa: E402
from training.checkpoints.checkpoint import load_checkpoint  # noqa: E402
from training.run.batches import Batches, Sources  # noqa: E402
from training.run.config import read_config  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def run(tmp_path):
    """A setting whose run `a` has made a step."""
    setting = Setting(tmp_path)
    assert setting('a', 1) == 0
    return setting


def refusal(capsys):
    told = capsys.readouterr().err
    assert told.startswith('error: ') and told.count('\n') == 1
    return told


def test_the_commit_on_record_is_that_of_the_start(run, monkeypatch):
    for steps, commit in ((1, 'first'), (2, 'second')):
        monkeypatch.setattr(train, 'current_commit', lambda commit=commit: commit)
        assert run('b', steps) == 0
    provenance = load_checkpoint(run.folder / 'b').provenance
    assert provenance['commit'] == 'first' and provenance['step'] == 2


def test_rates_that_become_alike_do_not_end_a_run(run):
    run.write_config(encoder_learning_rate=1e-4)
    assert run('b', 1) == 0
    run.write_config(encoder_learning_rate=1e-3, learning_rate=1e-3)
    assert run('b', 2) == 0


@pytest.mark.parametrize('change, message', [
    ({'seed': 2}, 'seed 1 -> 2'),
    ({'objective': 'dap'}, "objective 'pano' -> 'dap'"),
    ({'loss': {'mask': 0.5}}, 'loss.mask None -> 0.5'),
    ({'model': TINY | {'stem': 16}}, 'model.stem 8 -> 16'),
    ({'network': 'dap', 'model': {}}, "network 'pano_tiny' -> 'dap'"),
    ({'size_hw': [32, 64]}, r'size_hw None -> \[32, 64\]'),
    ({'silog_lambda': 0.85, 'max_target_m': 50.0},
     'max_target_m 150.0 -> 50.0, silog_lambda 0.5 -> 0.85'),
])
def test_another_config_is_refused_with_every_difference(run, capsys, change, message):
    run.write_config(**change)
    before = (run.folder / 'a' / 'resume.pt').read_bytes()
    assert run('a', 2) == 1
    told = refusal(capsys)
    assert re.search(f'{run.folder}/a holds another run: .*{message}.*; choose another --o', told)
    assert (run.folder / 'a' / 'resume.pt').read_bytes() == before


def test_other_data_and_other_weights_to_start_from_are_refused(run, capsys):
    shutil.copytree(run.folder / 'data', run.folder / 'more')
    assert run('a', 2, '--data', f'{run.folder}/data', f'{run.folder}/more') == 1
    assert re.search(r"--data \['.*/data'\] -> \['.*/data', '.*/more'\]", refusal(capsys))
    for word in ('--init', '--teacher'):
        assert run('a', 2, word, run.folder / 'a') == 1
        assert f"{word} None -> '{run.folder}/a'" in refusal(capsys)


def test_what_our_messages_advise_to_change_may_change(run):
    data = f'{run.folder}/data'
    assert train.main([data + '/' if word == data else word for word in run.words('a', 2)]) == 0
    run.write_config(batch=1, accumulate=3, learning_rate=1e-4, workers=1, cache_gib=0.001,
                     save_minutes=1, evaluate_minutes=1, refresh_steps=7)
    assert run('a', 3) == 0
    provenance = load_checkpoint(run.folder / 'a').provenance
    assert provenance['step'] == 3 and provenance['samples'] == 9       # 2 x 3 and 1 x 1 x 3


@pytest.mark.parametrize('change, used', [
    ({'betas': [0.5, 0.6]}, {(2e-3, 0.02, (0.5, 0.6)), (2e-3, 0.0, (0.5, 0.6))}),
    ({'weight_decay': 0.0}, {(2e-3, 0.0, (0.9, 0.98))}),
    ({'weight_decay': 0.1}, {(2e-3, 0.1, (0.9, 0.98)), (2e-3, 0.0, (0.9, 0.98))}),
    ({'encoder_learning_rate': 1e-4, 'learning_rate': 1e-3},
     {(rate, decay, (0.9, 0.98)) for rate in (1e-3, 1e-4) for decay in (0.02, 0.0)})])
def test_settings_that_may_change_are_those_of_the_config(run, monkeypatch, change, used):
    seen, step = [], torch.optim.AdamW.step

    def watched(self, *words, **more):
        seen.extend((group['rate'], group['weight_decay'], tuple(group['betas']))
                    for group in self.param_groups)
        return step(self, *words, **more)
    monkeypatch.setattr(torch.optim.AdamW, 'step', watched)
    run.write_config(**change)
    assert run('a', 2) == 0
    assert set(seen) == used


def test_a_state_that_grouped_the_parameters_otherwise_is_one_line_with_the_remedy(run, capsys):
    path = run.folder / 'a' / 'resume.pt'
    state = torch.load(path, weights_only=True)
    first, *others = state['optimiser']['param_groups']
    first['params'] = sum((group['params'] for group in others), first['params'])
    state['optimiser']['param_groups'] = [first]
    torch.save(state, path)
    assert run('a', 2) == 1
    assert re.search('of another network or an older version .*parameter group.*; choose another '
                     '--out, where --init CHECKPOINT starts from the weights of this one',
                     refusal(capsys))
    assert run('b', 1, '--init', run.folder / 'a') == 0


def without_description(run):
    path = run.folder / 'a' / 'resume.pt'
    state = torch.load(path, weights_only=True)
    assert set(state.pop('run')) == {'config', 'words'}
    torch.save(state, path)


def test_a_state_of_an_older_version_goes_on(run):
    without_description(run)
    run.write_config(seed=5)            # it does not know
    assert run('a', 3) == 0
    assert [entry['step'] for entry in run.entries('a')] == [1, 2, 3]


def test_lines_of_steps_that_are_made_again_leave_the_log(run):
    assert run('b', 2) == 0
    log = run.folder / 'a' / 'log.jsonl'
    log.write_text(log.read_text() + '{"step": 2, "loss": 5.0}\n')
    with log.open('a') as file:
        file.write('{"step": 1, "skipped": {"x is corrupt": 2}\n{"step": 3, "lo')      # killed
    assert run('a', 2) == 0
    assert [entry['step'] for entry in run.entries('a')] == [1, 2]
    assert run.losses('a') == run.losses('b')


def test_a_run_whose_deadline_has_passed_ends_at_once_and_says_so(run, capsys):
    words = run.words('a', 1)[:-2]
    path = run.folder / 'a' / 'resume.pt'
    state = torch.load(path, weights_only=True)
    state['schedule'] = {'deadline': '12:00', 'end': 86400.0}
    torch.save(state, path)
    assert train.main([*words, '--deadline', '12:00']) == 0
    assert 'the --deadline 12:00 of this run has passed: it ends here' in capsys.readouterr().out
    assert load_checkpoint(run.folder / 'a').provenance['step'] == 1


def test_a_state_of_an_older_version_of_another_network_is_one_line(run, capsys):
    without_description(run)
    run.write_config(model=TINY | {'stem': 16})
    assert run('a', 2) == 1
    assert re.search('resume.pt is of another network .*size mismatch.*; choose another --out',
                     refusal(capsys))


def test_a_setting_that_the_stored_run_did_not_know_is_no_difference(run):
    path = run.folder / 'a' / 'resume.pt'
    state = torch.load(path, weights_only=True)
    del state['run']['config']['height_jitter'], state['run']['words']['--joint']
    torch.save(state, path)
    assert run('a', 2) == 0


def flip_header(shard, member):
    shard.write_bytes(flip(bytearray(shard.read_bytes()), header_of(shard, member)))


@pytest.mark.parametrize('workers', [0, 1])
def test_shards_that_appear_while_training_are_told_of(run, capsys, monkeypatch, workers):
    load, shard = train.load, run.folder / 'data' / '00000.tar'

    def shards_appear(*words, **more):
        for number, batch in enumerate(load(*words, **more)):
            if number == 1:
                shutil.copy(shard, shard.with_name('00001.tar'))
                shutil.copy(shard, shard.with_name('00002.tar'))
                flip_header(shard.with_name('00002.tar'), 9)
                shard.with_name('00003.tar').write_bytes(b'no tar' * 99)
            yield batch
    monkeypatch.setattr(train, 'load', shards_appear)
    run.write_config(workers=workers)
    assert run('b', 4) == 0
    about = load_checkpoint(run.folder / 'b').provenance
    assert about['data'] == ['data: 4 shards, 00000.tar to 00003.tar'] and about['images'] == 27
    told = capsys.readouterr().err
    assert '2 corrupt' in told and '00003.tar cannot be read' in told
    assert '00002.tar is damaged after 9 members' in told


EVERY_STATE_IS_KEPT = """
import os, shutil, sys
sys.path.insert(0, os.getcwd())
from training import train
from training.run.folder import RunFolder

def save(folder, snapshot, save=RunFolder.save):
    save(folder, snapshot)
    shutil.copy(folder.path / 'resume.pt', folder.path / f'{snapshot.step}.pt')
RunFolder.save = save
sys.exit(train.main())
"""


@pytest.mark.slow
def test_a_state_holds_what_all_processes_have_skipped(run):
    for number in (2, 5, 7, 11):
        damage_image(run.folder / 'data' / '00000.tar', number)
    run.write_config(save_minutes=0)
    (run.folder / 'keeping.py').write_text(EVERY_STATE_IS_KEPT)
    for steps in (3, 5):                # the second time it goes on
        process = run.launch('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node',
                             '2', f'{run.folder}/keeping.py', *run.words('b', steps))
        output = process.communicate()[0]
        assert process.returncode == 0, output
    config = read_config(run.folder / 'config.yaml')
    batches = Batches(Sources([run.folder / 'data']), config, (32, 64), 100)
    met = [Counter(batches[number].skipped) for number in range(10)]
    assert all(sum(met[rank::2], Counter()) for rank in (0, 1))
    states = [torch.load(path, weights_only=True) for path in (run.folder / 'b').glob('[0-9]*.pt')]
    assert {state['step'] for state in states} == set(range(6))
    for state in states:
        assert state['skipped'] == sum(met[:2 * state['step']], Counter())
    assert [e['skipped'] for e in run.entries('b', 'skipped')] == [
        sum(met[:2 * steps], Counter()) for steps in (3, 5)]


def test_counts_of_skipped_samples_are_not_multiplied_by_the_processes(run):
    path = run.folder / 'a' / 'resume.pt'
    state = torch.load(path, weights_only=True)
    state['skipped'] = {'x is corrupt': 5}
    torch.save(state, path)
    process = run.launch('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
                         '-m', 'training.train', *run.words('a', 2))
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert run.entries('a', 'skipped')[-1]['skipped'] == {'x is corrupt': 5}

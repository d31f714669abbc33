# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from contextlib import suppress
from datetime import timedelta

import pytest
from tiny_training import MICRO

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('accelerate')

from accelerate.state import AcceleratorState, PartialState  # noqa: E402

from da_ros.errors import DaRosError  # noqa: E402
from training import ablate, discriminate, label, pipeline, train  # noqa: E402
from training.run.config import TrainConfig  # noqa: E402
from training.run.processes import BF16_UNITS, precision_on  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def launched(monkeypatch):
    """This process is the only one that torchrun started."""
    AcceleratorState._reset_state(reset_partial_state=True)
    for name, value in (('RANK', 0), ('LOCAL_RANK', 0), ('WORLD_SIZE', 1), ('MASTER_PORT', 0),
                        ('MASTER_ADDR', '127.0.0.1'), ('OMP_NUM_THREADS', 1)):
        monkeypatch.setenv(name, str(value))
    for devices in (torch.cuda, torch.accelerator):
        monkeypatch.setattr(devices, 'is_available', lambda: False)
    yield
    PartialState().destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)


WORDS = {
    ablate: '--table masks --config CONFIG --data none --val none --steps 1',
    discriminate: '--pairs none none --val none none',
    label: '--checkpoint none --data none',
    pipeline: '--synthetic none --unlabelled none --val a=none --configs CONFIG --steps 1',
    train: '--config CONFIG --data none --steps 1'}


@pytest.mark.parametrize('command', WORDS, ids=lambda command: command.__name__)
def test_processes_wait_for_the_longest_shard_of_another(launched, tmp_path, command):
    (tmp_path / 'micro.yaml').write_text(yaml.safe_dump(MICRO))
    words = WORDS[command].replace('CONFIG', f'{tmp_path}/micro.yaml').split()
    args = command.parse_args([*words, '--out', f'{tmp_path}/out'])
    with suppress(DaRosError):          # there is nothing to work on
        (train.train if command is train else command.run)(args)
    group = torch.distributed.group.WORLD._get_backend(torch.device('cpu'))
    assert group.options._timeout == timedelta(days=7)


@pytest.mark.parametrize('units, precision', [((False, False), 'no'), ((True, False), 'bf16'),
                                              ((False, True), 'bf16')])
def test_bf16_is_for_cpus_that_compute_in_it(launched, monkeypatch, capsys, units, precision):
    for name, has in zip(BF16_UNITS, units):
        monkeypatch.setattr(torch.cpu, name, lambda has=has: has)
    made = train.make_accelerator(TrainConfig('pano_tiny', mixed_precision='bf16'))
    assert made.mixed_precision == precision
    told = 'this CPU does not compute in bf16: fp32 instead' in capsys.readouterr().out
    assert told == (precision == 'no')


def test_other_precisions_and_devices_are_taken_as_they_are(monkeypatch):
    for name in BF16_UNITS:
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert [precision_on(*case) for case in ((True, 'no'), (False, 'bf16'), (False, 'fp16'))] == [
        'no', 'bf16', 'fp16']

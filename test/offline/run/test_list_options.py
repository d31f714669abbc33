# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Options that take a list may be given again: nothing of the first is lost."""

import pytest

pytest.importorskip('torch')
pytest.importorskip('accelerate')

from training import ablate, curate, label, pipeline, selection, simulate, train

NEEDED = {
    ablate: '--table t --config c --data a --val a --steps 1 --out o',
    curate: 'panorama --set n=f --out o',
    label: '--checkpoint c --data a --out o',
    pipeline: '--synthetic a --unlabelled a --val a --steps 1 --indoor 1 --outdoor 1 --out o',
    selection: '--labels a --indoor 1 --outdoor 1 --out o',
    simulate: '',
    train: '--config c --data a --out o'}


@pytest.mark.parametrize('module, option', [
    (ablate, 'data'), (ablate, 'val'), (ablate, 'row-data'), (curate, 'option'), (label, 'data'),
    (pipeline, 'synthetic'), (pipeline, 'unlabelled'), (pipeline, 'val'), (selection, 'labels'),
    (simulate, 'mix'), (train, 'data'), (train, 'val')],
    ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_a_list_that_is_given_again_is_longer(module, option):
    words = [*NEEDED[module].split(), f'--{option}', 'b', f'--{option}', 'c', 'd']
    found = getattr(module.parse_args(words), option.replace('-', '_'))
    assert [str(value) for value in found][-3:] == ['b', 'c', 'd']

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The smallest network that training can run, a config of it, and a run that is killed."""

import pytest

TINY = {'size_hw': [32, 64], 'stem': 8, 'widths': [8, 8, 16, 14], 'blocks': [1, 1, 1, 1],
        'decoder': [8, 8, 8, 8]}
MICRO = {'network': 'pano_tiny', 'batch': 3, 'warmup_steps': 2, 'evaluate_images': 2,
         'model': TINY}


def kill_after_training(monkeypatch, command, words):
    """Run a command that trains and is killed once that is done, before anything follows."""
    def killed(args, train=command.train.train):
        train(args)
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(command.train, 'train', killed)
        with pytest.raises(KeyboardInterrupt):
            command.main(words)

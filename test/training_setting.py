# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A tiny training run with its data, as the command line starts it."""

import json
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
from tiny_training import TINY
import yaml

from training import train
from training.checkpoints.checkpoint import load_checkpoint
from training.data.sample import Sample
from training.data.shards import write_shard

CONFIGS = Path(train.__file__).parent / 'configs'


def room_sample(rng):
    """A floor at a random height below a grey sky, brightness tells the range."""
    height = rng.uniform(0.2, 2)
    range_m = np.full((32, 64), np.inf, np.float32)
    rows = np.arange(16) + 0.5
    range_m[16:] = (height / np.sin(rows / 32 * np.pi))[:, None]
    shade = np.where(np.isfinite(range_m), 255 / (1 + np.minimum(range_m, 1e3)), 200)
    image = np.repeat(shade.astype(np.uint8)[..., None], 3, -1)
    return Sample(image, range_m, np.isfinite(range_m), 'test', float(height))


class Setting:
    """A config file, a folder of 12 samples, and runs with them."""

    def __init__(self, folder):
        self.folder = folder
        self.write_config()
        (folder / 'data').mkdir()
        rng = np.random.default_rng(0)
        write_shard(folder / 'data' / '00000.tar', [room_sample(rng) for _ in range(12)], {})

    def write_config(self, **changes):
        config = yaml.safe_load((CONFIGS / 'pano_tiny.yaml').read_text())
        config |= {'model': TINY, 'batch': 3, 'warmup_steps': 2, 'mixed_precision': 'no',
                   'evaluate_images': 4, 'log_seconds': 0} | changes
        (self.folder / 'config.yaml').write_text(yaml.safe_dump(config))

    def words(self, out, steps, *more):
        return ['--config', f'{self.folder}/config.yaml', '--data', f'{self.folder}/data',
                '--out', f'{self.folder}/{out}', '--steps', str(steps), *map(str, more)]

    def __call__(self, out, steps, *more):
        return train.main(self.words(out, steps, *more))

    def launch(self, *command):
        return subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=CONFIGS.parents[1],
            env=os.environ | {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''})

    def entries(self, out, key='loss'):
        log = self.folder / out / 'log.jsonl'
        lines = log.read_text().splitlines() if log.exists() else []
        return [e for e in map(json.loads, lines) if key in e]

    def losses(self, out):
        return [entry['loss'] for entry in self.entries(out)]


def weights_of(folder):
    return load_checkpoint(folder / 'checkpoint.safetensors').state

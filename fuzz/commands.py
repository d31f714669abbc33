# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Give hostile arguments to every command, each as a process of its own.

    python -m fuzz.commands [--count 500] [--seed 0] [--heavy 0.12]

A command answers with 0, or with 1 or 2 and one line (after its usage, if it prints that); a
traceback, another end, or no end soon after Ctrl-C is a find.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import cache
import os
from pathlib import Path
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

from fuzz.choices import ODD_NUMBERS, ODD_TEXTS

ROOT = Path(__file__).resolve().parents[1]
LIGHT = ('da_ros.ros.node', 'da_ros.commands.infer', 'da_ros.commands.replay',
         'da_ros.commands.fisheye', 'da_ros.commands.body_mask', 'da_ros.commands.lidar_model',
         'da_ros.commands.engine', 'da_ros.commands.view', 'training.evaluate_bag',
         'training.evaluate', 'training.curate', 'training.simulate', 'training.demo_bag',
         'training.model_card', 'training.label_free_space')
HEAVY = ('training.train', 'training.export', 'training.label', 'training.warm_start',
         'training.pipeline', 'training.selection', 'training.ablate', 'training.discriminate',
         'training.pretrained', 'training.turning', 'training.average')     # they import torch
PATIENCE_S, LEAVE_S = 20.0, 60.0         # until Ctrl-C; after it: it waits for what is imported
# What a command may be told, besides its own words. Absolute paths would leave the folder.
WORDS = ('-h', '--help', '--', '-', '--nonsense', '-1', '1e9', '0x10', '1e400', 'pano_tiny',
         'none', 'build', 'clear', 'list', 'check', '-p', '--ros-args', '-r', 'a:=b',
         'model:=nothing', 'points.max_points:=x', 'autostart:=false', 'depth.encoding:=16UC1',
         *(text for text in ODD_TEXTS if '\0' not in text and '\ud800' not in text
           and not text.startswith('/')),
         *(str(number) for number in ODD_NUMBERS if number != 10**400))


def make_files(folder: Path) -> tuple[str, ...]:
    """Write files and folders that a command may be pointed at; return their names."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    cv2.imwrite(str(folder / 'good.png'), noise)
    cv2.imwrite(str(folder / 'square.jpg'), noise[:, :16])
    whole = (folder / 'good.png').read_bytes()
    for name, content in {'half.png': whole[:200], 'empty.png': b'', 'empty.mcap': b'',
                          'noise.db3': whole, 'text.yaml': b'a: [1', 'odd.yaml': b'- 1\n',
                          'noise.npz': whole, 'noise.onnx': whole, 'noise.pt': whole,
                          'list.txt': b'good.png\nnothing.png\n', 'odd.json': b'{"a": 1}',
                          'model.safetensors': whole, 'metadata.yaml': b'x: 1'}.items():
        (folder / name).write_bytes(content)
    (folder / 'nothing_in_it').mkdir()
    (folder / 'loop').symlink_to('loop')
    (folder / 'bundle').mkdir()
    (folder / 'bundle/model.yaml').write_bytes(b'format: 1\n')
    return (*(path.name for path in folder.iterdir()), '.', 'not/there', 'good.png/below')


@cache
def own_words(module: str) -> tuple[str, ...]:
    """Return the options and choices that a command's help names."""
    told = subprocess.run([sys.executable, '-m', module, '--help'], capture_output=True, text=True,
                          env=os.environ | {'PYTHONPATH': str(ROOT)}, check=True).stdout
    words = re.findall(r'--[a-z][a-z-]*', told)
    for choices in re.findall(r'\{([^}]*)\}', told):
        words += choices.split(',')
    return (*sorted(set(words)), '--help')


def arguments(module: str, files: tuple[str, ...], chance: random.Random) -> list[str]:
    """Return arguments by chance, some of which may even make sense."""
    given = []
    for _ in range(chance.choice((0, 1, 1, 2, 3, 4, 6))):
        given += [chance.choice(chance.choice((own_words(module), files, WORDS)))
                  for _ in range(chance.choice((1, 2, 2, 3)))]
    return given


def answer(module: str, given: list[str], folder: Path, patience_s: float = PATIENCE_S) -> str:
    """Run a command; return '' or what is wrong with how it ended."""
    home = folder.parents[2]
    environment = os.environ | {
        'PYTHONPATH': str(ROOT), 'HOME': str(home), 'XDG_CACHE_HOME': str(home / 'cache'),
        'DA_ROS_ENGINE_CACHE': str(home / 'engines'), 'ROS_LOG_DIR': str(home / 'log'),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'OMP_NUM_THREADS': '1'}
    with (home / 'stdout').open('wb') as stdout, (home / 'stderr').open('w+b') as stderr:
        process = subprocess.Popen([sys.executable, '-m', module, *given], cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                   env=environment, start_new_session=True)
        interrupted = False
        try:
            code = process.wait(patience_s)
        except subprocess.TimeoutExpired:
            interrupted = True
            os.killpg(process.pid, signal.SIGINT)
            try:
                code = process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f'does not end within {LEAVE_S:g} s of Ctrl-C'
        stderr.seek(0)
        said = stderr.read().decode(errors='replace')
    return judged(code, said, interrupted)


def judged(code: int, said: str, interrupted: bool) -> str:
    """Return '' or what is wrong with an exit code and what was printed to stderr."""
    if 'Traceback (most recent call last)' in said:
        return f'exit code {code}, traceback:\n{said}'
    if interrupted:
        return '' if code in (0, 1, 2, 130, -signal.SIGINT) else f'exit code {code} after Ctrl-C'
    if code not in (0, 1, 2):
        return f'exit code {code}:\n{said}'
    # A usage is indented below its first line; a bar ends with a carriage return.
    lines = [line for line in re.split(r'[\r\n]+', said)
             if line.strip() and not line.startswith(('usage:', ' '))]
    if code == 2 and len(lines) != 1:
        return f'exit code 2 and {len(lines)} lines:\n{said}'
    return '' if lines or not code else f'exit code {code} without a word'


def main() -> int:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[1])
    parser.add_argument('--count', type=int, default=500, help='processes in all')
    parser.add_argument('--seed', type=int, default=int(time.time()))
    parser.add_argument('--heavy', type=float, default=0.12, help='share that imports torch')
    options = parser.parse_args()
    chance, finds, count = random.Random(options.seed), 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix='fuzz') as made:
        folder = Path(made) / 'a' / 'b' / 'c'          # `../..` stays inside
        folder.mkdir(parents=True)
        files = make_files(folder)
        for _ in range(options.count):
            module = chance.choice(HEAVY if chance.random() < options.heavy else LIGHT)
            given = arguments(module, files, chance)
            count[module] += 1
            if why := answer(module, given, folder):
                finds += 1
                print(f'FOUND {module} {given}: {why}', flush=True)
    print(', '.join(f'{module} {number}' for module, number in sorted(count.items())))
    print(f'{options.count} processes, {finds} finds (seed {options.seed})')
    return 1 if finds else 0


if __name__ == '__main__':
    sys.exit(main())

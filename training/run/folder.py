# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: log, TensorBoard, pictures, checkpoints that are whole or absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import fcntl
import json
import math
import os
from pathlib import Path
import sys

import cv2
import numpy as np
from safetensors import SafetensorError
import torch

from training.checkpoints.checkpoint import save_checkpoint
from training.run.config import TrainError


def locked(file) -> bool:
    """
    Return whether no other process holds the file; from now on this one does, until it ends.

    A record lock: data processes do not inherit it. A file system without locks holds nothing.
    """
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


def step_of(line: str) -> float:
    """Return the step of a line of log.jsonl; +inf if the line was cut off."""
    try:
        return json.loads(line)['step']
    except ValueError:
        return math.inf


def on_cpu(state):
    """Return a copy of nested state on the CPU that later steps do not change."""
    if isinstance(state, torch.Tensor):
        return state.detach().to('cpu', copy=True)
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state


@dataclass
class Snapshot:
    """A moment of training, apart from it: what `resume.pt` and the checkpoint hold."""

    network: str
    model_config: dict
    resume: dict                 # model, ema, optimiser, scaler, step, elapsed, skipped, run
    provenance: dict

    @property
    def step(self) -> int:
        return self.resume['step']


class RunFolder:
    """Written by the main process only; the others have one with `silent`."""

    def __init__(self, path: Path, silent: bool) -> None:
        """:raises TrainError: if the folder cannot be made, or another training writes there."""
        self.path, self.silent = path, silent
        self.saved_step: int | None = None
        self._writer = None
        self._lock = None
        if not silent:
            with self._writing():
                path.mkdir(parents=True, exist_ok=True)
                self._lock = (path / '.lock').open('w')
                if not locked(self._lock):
                    raise TrainError(f'another training writes into {path}; wait for its end, or '
                                     'choose another --out')

    @property
    def checkpoint(self) -> Path:
        return self.path / 'checkpoint.safetensors'

    def resume(self) -> dict | None:
        """
        Return the state of the last save, or None; the log of what came after it is dropped.

        :raises TrainError: if the file is damaged, or the log cannot be written
        """
        path = self.path / 'resume.pt'
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location='cpu', weights_only=True)
        except Exception as error:
            raise TrainError(f'{path} is damaged; delete it to start again from '
                             f'--init {self.checkpoint}') from error
        self.saved_step = state['step']
        self._drop_later_lines()
        return state

    def _drop_later_lines(self) -> None:
        """Leave away the steps that are made again, and a line that a kill has cut off."""
        log, part = self.path / 'log.jsonl', self.path / '.log'
        if self.silent or not log.is_file():
            return
        with self._writing():
            lines = [line for line in log.read_text().splitlines()
                     if step_of(line) <= self.saved_step]
            part.write_text(''.join(f'{line}\n' for line in lines))
            part.replace(log)

    def save(self, snapshot: Snapshot) -> None:
        """
        Write checkpoint and resume.pt; each replaces the old one when it is complete.

        :raises TrainError: if the disk is full; the old files stay
        """
        part = self.path / f'.resume.{os.getpid()}'
        try:
            with self._writing():
                # The checkpoint first: killed between the two, the run goes on from the older
                # resume.pt and writes both again; in the other order it would go on while an
                # old checkpoint passes for the result.
                save_checkpoint(self.checkpoint, snapshot.network, snapshot.model_config,
                                snapshot.resume['ema'], snapshot.provenance)
                torch.save(snapshot.resume, part)
                part.replace(self.path / 'resume.pt')
        finally:
            part.unlink(missing_ok=True)
        self.saved_step = snapshot.step

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """:raises TrainError: that says what is left, if the disk is full or not there."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:      # torch: a RuntimeError
            raise TrainError(f'cannot write into {self.path}: {str(error).splitlines()[0]}; '
                             f'{self.last_good()}') from error

    def last_good(self) -> str:
        """Return a phrase that says what is left after a failure."""
        if self.saved_step is None:
            return 'nothing was saved yet'
        return f'the checkpoint of step {self.saved_step} is kept in {self.path}'

    def log(self, step: int, entry: dict) -> None:
        """
        Append a line to log.jsonl and its numbers to TensorBoard.

        :raises TrainError: if the disk is full
        """
        if self.silent:
            return
        prefix = f'val_{entry["val"]}' if 'val' in entry else 'train'
        known = {name: None if value != value else value for name, value in entry.items()}
        with self._writing():
            with (self.path / 'log.jsonl').open('a') as file:
                file.write(json.dumps({'step': step, **known}) + '\n')
            for name, value in entry.items():
                if isinstance(value, (int, float)):
                    self.writer.add_scalar(f'{prefix}/{name}', value, step)

    def name_skipped(self, step: int, skipped: Counter) -> None:
        """Count and name what was corrupt, samples and whole shards."""
        if not skipped:
            return
        print(f'skipped {sum(skipped.values())} times, {len(skipped)} corrupt:', file=sys.stderr)
        for message, count in skipped.most_common():
            print(f'  {count} x {message}', file=sys.stderr)
        self.log(step, {'skipped': dict(skipped)})

    def picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """
        Write an RGB picture beside the log and into TensorBoard.

        :raises TrainError: if the disk is full
        """
        jpeg = cv2.imencode('.jpg', picture[..., ::-1])[1]
        with self._writing():
            (self.path / f'{name}_{step:06d}.jpg').write_bytes(jpeg)    # imwrite may say nothing
            self.writer.add_image(name, picture, step, dataformats='HWC')

    @property
    def writer(self):
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter
            again = None if self.saved_step is None else self.saved_step + 1
            self._writer = SummaryWriter(str(self.path / 'tensorboard'), purge_step=again)
        return self._writer

    def close(self) -> None:
        """:raises TrainError: if the rest of TensorBoard's file cannot be written."""
        try:
            if self._writer is not None:
                writer, self._writer = self._writer, None
                with self._writing():
                    writer.close()
        finally:
            if self._lock is not None:
                self._lock.close()

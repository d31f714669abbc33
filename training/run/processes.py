# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The processes of a run, as `accelerate launch` or torchrun starts them, or the only one."""

from __future__ import annotations

from datetime import timedelta
import os
from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
import torch

from training.run.config import TrainError

BF16_UNITS = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')     # of torch.cpu
LONGEST_WAIT = timedelta(days=7)        # for the last shard of another, or its scores


def process_state(cpu: bool | None = None) -> PartialState:
    """
    Return the state of this process; the first call starts the group of all processes.

    A group keeps the timeout that it is started with, so nothing else may start it.

    :param cpu: compute on it; None = if there is no CUDA
    :raises TrainError: if `accelerate launch` was told of several processes and made none of them
        known to each other, as it does without `--multi_gpu`: all would write the same files
    """
    state = PartialState(cpu=_on_cpu(cpu), timeout=LONGEST_WAIT)
    told_of_several = {'ACCELERATE_MIXED_PRECISION', 'MASTER_ADDR'} <= os.environ.keys()
    if state.num_processes == 1 and told_of_several and 'WORLD_SIZE' not in os.environ:
        raise TrainError('accelerate launch was told of several processes, but this one knows of '
                         'no other; give it --multi_gpu (not --cpu), which works without GPUs, '
                         'too, or --num_processes 1')
    return state


def new_accelerator(cpu: bool | None = None, **options: Any) -> Accelerator:
    """
    Return an accelerator on the group of :func:`process_state`.

    What an earlier one in this process has set, such as its precision, is forgotten.
    """
    process_state(cpu)
    AcceleratorState._reset_state()
    return Accelerator(cpu=_on_cpu(cpu), **options)


def precision_on(cpu: bool, wanted: str) -> str:
    """
    Return the mixed precision to compute in: `wanted`, or `no` for bf16 that a CPU lacks.

    Torch emulates it there, and takes five times as long as in fp32 and more.
    """
    lacks = cpu and not any(getattr(torch.cpu, name, lambda: False)() for name in BF16_UNITS)
    return 'no' if wanted == 'bf16' and lacks else wanted


def _on_cpu(cpu: bool | None) -> bool:
    return not torch.cuda.is_available() if cpu is None else cpu

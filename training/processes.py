"""The processes of a run, as `accelerate launch` or torchrun starts them, or the only one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
import torch

LONGEST_WAIT = timedelta(days=7)        # for the last shard of another, or its scores


def process_state(cpu: bool | None = None) -> PartialState:
    """
    Return the state of this process; the first call starts the group of all processes.

    A group keeps the timeout that it is started with, so nothing else may start it.

    :param cpu: compute on it; None = if there is no CUDA
    """
    return PartialState(cpu=_on_cpu(cpu), timeout=LONGEST_WAIT)


def new_accelerator(cpu: bool | None = None, **options: Any) -> Accelerator:
    """
    Return an accelerator on the group of :func:`process_state`.

    What an earlier one in this process has set, such as its precision, is forgotten.
    """
    process_state(cpu)
    AcceleratorState._reset_state()
    return Accelerator(cpu=_on_cpu(cpu), **options)


def _on_cpu(cpu: bool | None) -> bool:
    return not torch.cuda.is_available() if cpu is None else cpu

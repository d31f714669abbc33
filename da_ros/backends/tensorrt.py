"""TensorRT and TensorRT-RTX on an NVIDIA GPU, one code path for 10.0 to 11.x."""

from __future__ import annotations

from da_ros.backends.base import Backend
from da_ros.backends.cuda import identify
from da_ros.bundle import Bundle
from da_ros.engines.library import load_library


class TensorRtBackend(Backend):
    """Engines of the full TensorRT."""

    name = 'tensorrt'
    on_device = True

    def __init__(self, bundle: Bundle, variant: str = 'fp32', threads: int = 0):
        """
        Load the engines of a bundle from the cache.

        :raises BackendAbsent: library not installed, or no CUDA device
        :raises EngineMissing: if engines must be built first
        :raises BackendError: if a plan cannot be built, or has failed its self-check
        """
        identify()
        load_library(self.name)
        raise NotImplementedError


class TensorRtRtxBackend(TensorRtBackend):
    """Engines of TensorRT-RTX, whose plain wheels hold everything."""

    name = 'tensorrt_rtx'

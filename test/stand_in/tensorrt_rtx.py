# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The stand-in for TensorRT-RTX: as that for TensorRT, with what only the real RTX has."""

import enum

import tensorrt
from tensorrt import *  # noqa: F403

__version__ = '1.7.1.116'


class ComputeCapability(enum.Enum):
    CURRENT = 0
    SM89 = 89


class BuilderFlag(enum.Enum):
    TF32 = 7
    REQUIRE_USER_ALLOCATION = 25


class IBuilderConfig(tensorrt.IBuilderConfig):
    num_compute_capabilities = 0

    def set_flag(self, flag):
        assert flag is BuilderFlag.REQUIRE_USER_ALLOCATION

    def clear_flag(self, flag):
        assert flag is BuilderFlag.TF32

    def set_compute_capability(self, compute_capability, index):
        assert compute_capability is ComputeCapability.CURRENT
        assert index < self.num_compute_capabilities


class Builder(tensorrt.Builder):
    def create_builder_config(self):
        return IBuilderConfig()

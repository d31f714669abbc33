# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines: built from our own ONNX in a child process, kept in a cache of our own."""

from da_ros.engines.jobs import EngineJob, jobs_for

__all__ = ['EngineJob', 'jobs_for']

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""onnxruntime on a GPU: refused clearly rather than run on the CPU in silence."""

import numpy as np
import onnxruntime
import pytest

from da_ros.backends.base import BackendAbsent, BackendError
from da_ros.backends.order import open_backend

HAS_PROVIDER = 'CUDAExecutionProvider' in onnxruntime.get_available_providers()


def test_without_a_gpu_it_is_absent(stand_in, monkeypatch):
    from da_ros.backends import cuda
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')
    with pytest.raises(BackendAbsent, match='no CUDA device: libcuda_absent'):
        open_backend('onnxruntime_cuda', stand_in, 'fp32')


@pytest.mark.skipif(HAS_PROVIDER, reason='this onnxruntime is for GPUs')
def test_an_onnxruntime_for_processors_is_absent_and_the_right_package_named(stand_in, fake_gpu):
    with pytest.raises(BackendAbsent, match=r'onnxruntime [\d.]+ has no CUDA provider; .*'
                                            r'onnxruntime-gpu\[cuda,cudnn\]'):
        open_backend('onnxruntime_cuda', stand_in, 'fp32')


@pytest.mark.skipif(HAS_PROVIDER, reason='this onnxruntime is for GPUs')
@pytest.mark.filterwarnings('ignore:Specified provider')
def test_a_session_that_fell_back_to_the_cpu_is_refused(stand_in, fake_gpu, monkeypatch):
    """As onnxruntime-gpu 1.31.1 does where CUDA is missing: it offers the provider, then warns."""
    offered = onnxruntime.get_available_providers
    monkeypatch.setattr(onnxruntime, 'get_available_providers',
                        lambda: ['CUDAExecutionProvider', *offered()])
    with pytest.raises(BackendError, match='did not start and onnxruntime fell back to the CPU'):
        open_backend('onnxruntime_cuda', stand_in, 'fp32')


@pytest.fixture
def on_a_gpu():
    from da_ros.backends.cuda import identify
    if not HAS_PROVIDER:
        pytest.skip('onnxruntime-gpu is not installed')
    try:
        identify()
    except BackendAbsent as error:
        pytest.skip(str(error))


@pytest.mark.gpu
def test_default_bundle_passes_the_gate_on_a_gpu(on_a_gpu):
    from da_ros.estimator import RangeEstimator
    estimator = RangeEstimator(backend='onnxruntime_cuda')
    assert estimator.backend == 'onnxruntime_cuda fp32' and estimator.report.runs == 3


@pytest.mark.gpu
def test_on_a_gpu_it_passes_the_gate(stand_in, on_a_gpu):
    from da_ros import gate
    backend = open_backend('onnxruntime_cuda', stand_in, 'fp32')
    assert gate.prove(backend, stand_in).runs == 3
    assert np.isfinite(backend.run({'image': np.ones((32, 64, 3), np.uint8)})['range_m']).all()

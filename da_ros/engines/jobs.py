# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is to be built: one job per ONNX graph, with everything its engine depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path

from da_ros.backends.cuda import device_identity
from da_ros.bundle import Bundle
from da_ros.engines.library import load_library
from da_ros.onnx_files import graph_digest

CACHE_FORMAT = 1
# TF32 rounds fp32 products to 10 bits, so it is off: the fp32 variant must be the exact one. An
# engine that allocates while it runs could not be recorded as a CUDA graph.
BUILDER_OPTIONS = {'tf32': False, 'workspace_mib': 4096, 'fixed_memory': True}


@dataclass(frozen=True)
class EngineJob:
    """One ONNX graph to compile; equal ingredients give an equal plan file."""

    graph: Path                       # ONNX
    name: str                         # for people: 'pano_tiny/model.onnx'
    ingredients: Mapping[str, str]    # onnx sha256, backend, version, GPU, SM, driver, ...

    @property
    def backend(self) -> str:
        """Return `tensorrt` or `tensorrt_rtx`."""
        return self.ingredients['backend']

    @property
    def precision(self) -> str:
        """Return the arithmetic that the ONNX graph asks for: fp32, fp16 or int8."""
        return self.ingredients['precision']

    @property
    def key(self) -> str:
        """Return the content address: sha256 over all ingredients."""
        text = json.dumps(dict(sorted(self.ingredients.items())))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Return the job as one line for a child process."""
        return json.dumps({'graph': str(self.graph), 'name': self.name,
                           'ingredients': dict(self.ingredients)})

    @classmethod
    def from_json(cls, text: str) -> EngineJob:
        """Return the job that `to_json` wrote."""
        fields = json.loads(text)
        return cls(Path(fields['graph']), fields['name'], fields['ingredients'])


def jobs_for(bundle: Bundle, backend: str, variant: str) -> list[EngineJob]:
    """
    Return the engines that a bundle needs: the main graph first, then separate mask heads.

    Works without a GPU; the jobs are then of the device `none`, and their engines are never taken
    for those of a real one.

    :param backend: tensorrt | tensorrt_rtx
    :param variant: fp32 | fp16 | int8
    :raises BackendError: if the library is not installed
    """
    device = device_identity()
    common = {
        'backend': backend, 'version': load_library(backend).version, 'gpu': device.name,
        'sm': device.sm, 'multiprocessors': str(device.multiprocessors), 'driver': device.driver,
        'precision': variant, 'options': json.dumps(BUILDER_OPTIONS, sort_keys=True),
        'format': str(CACHE_FORMAT)}
    graphs = bundle.graphs_in(variant)
    # `load_bundle` has compared the files with these; the builder will once more.
    known = {bundle.folder / name: digest for name, digest in bundle.files.items()}
    return [EngineJob(path, f'{bundle.name}/{path.name}',
                      common | {'onnx': graph_digest(path, known)})
            for path in (graphs.main, *graphs.range_masks.values())]

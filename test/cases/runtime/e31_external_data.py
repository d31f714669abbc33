# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Weights outside the ONNX file are neither hashed by the bundle nor part of the engine key."""
import common, tempfile, pathlib, onnx, numpy as np
from dataclasses import replace
from conftest import write_stand_in_bundle
from da_ros.bundle import load_bundle, write_manifest
from da_ros.backends.order import open_backend
from da_ros import gate
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b')
m=onnx.load(b.own.main)
onnx.save(m,b.own.main,save_as_external_data=True,all_tensors_to_one_file=True,location='weights.bin',size_threshold=0)
write_manifest(replace(b,files={})); b=load_bundle(b.folder)
print('files with a hash:', list(b.files)); raw=bytearray((b.folder/'weights.bin').read_bytes()); print('weights.bin', len(raw), 'bytes')
try: print(gate.check(open_backend('onnxruntime',b,'fp32'),b))
except Exception as e: print('gate', e)
i=raw.find(np.float32(0.4).tobytes()); raw[i:i+4]=np.float32(0.8).tobytes(); (b.folder/'weights.bin').write_bytes(raw)
print('after changing the weights: load_bundle ->', load_bundle(b.folder).name)
try: print(gate.check(open_backend('onnxruntime',b,'fp32'),b))
except Exception as e: print('gate refuses:', str(e)[:90])

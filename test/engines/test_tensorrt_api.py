# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The stand-in has nothing that the real TensorRT has not, in any version that we support.

`test_tensorrt_backend.py` shows that the stand-in is all that our code needs. The names of the
full TensorRT were recorded from its real bindings by `record_tensorrt_api.py`; those of
TensorRT-RTX are read from the wheels here. Signatures and behaviour are not covered.
"""

import ast
from importlib import import_module
import json

from conftest import ROOT
import pytest

from da_ros.engines.library import MODULES

FOLDER = ROOT / 'test'
RECORDED = json.loads((FOLDER / 'data' / 'tensorrt_api.json').read_text())
NOT_IN_8_6 = {('NetworkDefinitionCreationFlag', 'STRONGLY_TYPED'), ('DataType', 'INT64'),
              ('IBuilderConfig', 'progress_monitor'), ('ParserError', 'node_operator'),
              ('ParserError', 'node_name')}


def stand_in_names(file):
    """Return {class: public names} that a stand-in module defines."""
    classes = {}
    for node in ast.parse((FOLDER / 'stand_in' / file).read_text()).body:
        if isinstance(node, ast.ClassDef):
            names = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            for item in node.body:
                if isinstance(item, ast.Assign):
                    names += [name.id for target in item.targets for name in ast.walk(target)
                              if isinstance(name, ast.Name)]
            classes[node.name] = [name for name in names if name[0] != '_']
    return classes


def absent(wanted, has):
    return {(name, member) for name, members in wanted.items() for member in members
            if not has(name, member)}


def test_stand_in_is_read_whole():
    names = stand_in_names('tensorrt.py')
    assert set(names['ILogger']) >= {'ERROR', 'INTERNAL_ERROR'}
    assert 'execute_async_v3' in names['IExecutionContext']
    assert sum(map(len, names.values())) > 30


@pytest.mark.parametrize('version', [v for v in RECORDED if not v.startswith('8')])
def test_full_tensorrt_has_all_that_the_stand_in_has(version):
    real = RECORDED[version]
    lacking = absent(stand_in_names('tensorrt.py'), lambda name, member: member in real[name])
    assert lacking == set()
    assert 'IProgressMonitor' in real


def test_tensorrt_8_6_lacks_only_what_the_code_goes_without():
    real = RECORDED['8.6.1']
    lacking = absent(stand_in_names('tensorrt.py'),
                     lambda name, member: member in real.get(name, ()))
    assert lacking == NOT_IN_8_6 and 'IProgressMonitor' not in real
    assert 'EXPLICIT_BATCH' in real['NetworkDefinitionCreationFlag']
    assert {'FP16', 'INT8'} <= set(real['BuilderFlag'])


def real_module(backend):
    for name in MODULES[backend]:
        try:
            return import_module(name)
        except ImportError as error:
            reason = str(error).splitlines()[0]
    pytest.skip(f'{backend} is not installed here ({reason})')


@pytest.mark.parametrize('backend, files', [
    ('tensorrt', ['tensorrt.py']), ('tensorrt_rtx', ['tensorrt.py', 'tensorrt_rtx.py'])])
def test_installed_library_has_all_that_the_stand_in_has(backend, files):
    module = real_module(backend)
    for file in files:
        assert absent(stand_in_names(file), lambda name, member: hasattr(
            getattr(module, name), member)) == set()
    assert module.DataType.UINT8.name == 'UINT8' and module.__version__
    assert callable(module.IProgressMonitor) and callable(module.ILogger)

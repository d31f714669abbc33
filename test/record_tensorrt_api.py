# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Record which names the Python bindings of several TensorRT versions have, for test_tensorrt_api.py.

    python test/record_tensorrt_api.py 8.6.1 10.0.1 10.3.0 10.13.2.6 10.16.1.11 11.4.0.106

The bindings are downloaded and imported for real; only the libraries below them are replaced by
empty ones, because those are gigabytes and an import calls nothing in them.
"""

import json
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import zipfile

OUT = Path(__file__).with_name('data') / 'tensorrt_api.json'
STAND_IN = Path(__file__).with_name('stand_in') / 'tensorrt.py'
LIBRARIES = ('nvinfer', 'nvonnxparser', 'nvinfer_plugin', 'nvparsers')
NAMES = """
import json, sys, tensorrt_bindings as trt
classes = [name for name in sys.argv[1:] if hasattr(trt, name)]
print(json.dumps({'version': trt.__version__, 'classes': {
    name: sorted(n for n in dir(getattr(trt, name)) if n[0] != '_') for name in classes}}))
"""


def record(version: str, folder: Path) -> dict:
    """Return the public names of the classes that the stand-in has."""
    package = 'tensorrt_bindings' if version.startswith('8') else 'tensorrt_cu12_bindings'
    subprocess.run([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest',
                    str(folder), '--only-binary=:all:', f'{package}=={version}'], check=True)
    with zipfile.ZipFile(next(folder.glob('*.whl'))) as wheel:
        wheel.extractall(folder)
    _write_empty_libraries(folder, version.split('.')[0])
    classes = re.findall(r'^class (\w+)', STAND_IN.read_text(), re.MULTILINE)
    done = subprocess.run([sys.executable, '-c', NAMES, *classes], check=True, text=True,
                          stdout=subprocess.PIPE,
                          env={'LD_LIBRARY_PATH': str(folder), 'PYTHONPATH': str(folder)})
    return json.loads(done.stdout)


def _write_empty_libraries(folder: Path, major: str) -> None:
    """Compile libraries that together define what the bindings call of TensorRT."""
    listed = subprocess.run(
        ['nm', '--dynamic', '--undefined-only', str(next(folder.glob('*/tensorrt.so')))],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    names = [line.split()[1] for line in listed.splitlines()
             if line.split()[0] == 'U' and not re.search(r'@|^ *U _?Py', line)]
    for library in LIBRARIES:
        source = folder / f'{library}.c'
        source.write_text('\n'.join(f'void *{name}(void) {{ return 0; }}' for name in names)
                          if library == 'nvinfer' else 'int empty;')
        subprocess.run(['gcc', '-w', '-fno-builtin', '-shared', '-fPIC', '-o',
                        str(folder / f'lib{library}.so.{major}'), str(source)], check=True)


def main() -> None:
    """Write the file anew for the versions on the command line."""
    found = {}
    for version in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            recorded = record(version, Path(folder))
        assert recorded['version'] == version, recorded['version']
        found[version] = recorded['classes']
        print(version, 'has', len(recorded['classes']), 'of the classes')
    lines = [f' "{version}": {{\n' + ',\n'.join(
        f'  "{name}": {json.dumps(names)}' for name, names in classes.items()) + '\n }'
        for version, classes in found.items()]
    OUT.write_text('{\n' + ',\n'.join(lines) + '\n}\n')


if __name__ == '__main__':
    main()

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an installation consists of, and that colcon, pip and RViz understand it."""

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import zipfile

from conftest import ROOT
import pytest
import yaml

COPIED = ('CHANGELOG.rst', 'LICENSE', 'NOTICE', 'README.md', 'config', 'da_ros', 'launch',
          'package.xml', 'pyproject.toml', 'resource', 'scripts', 'setup.cfg', 'setup.py',
          'training')


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """Return a copy of what an installation reads, so that builds leave nothing here."""
    folder = tmp_path_factory.mktemp('checkout') / 'da_ros'
    folder.mkdir()
    ignore = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    return folder


@pytest.fixture(scope='module')
def wheel(checkout):
    """Return the wheel of the checkout, opened."""
    pytest.importorskip('setuptools', reason='setuptools is not installed')
    run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
         '--no-index', '--wheel-dir', 'dist', '.'], checkout)
    path, = (checkout / 'dist').glob('*.whl')
    with zipfile.ZipFile(path) as opened:
        yield opened


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, timeout=200,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def text_of(wheel, suffix: str) -> str:
    name, = (name for name in wheel.namelist() if name.endswith(suffix))
    return wheel.read(name).decode()


def commands_of(wheel) -> dict[str, str]:
    lines = text_of(wheel, '.dist-info/entry_points.txt').splitlines()
    return dict(map(str.strip, line.split('=')) for line in lines if '=' in line)


def installed_to_prefix(wheel) -> dict[str, zipfile.ZipInfo]:
    """Return what lands under the prefix, by its path there."""
    return {info.filename.split('.data/data/')[1]: info for info in wheel.infolist()
            if '.data/data/' in info.filename}


def test_package_manifest_is_valid_and_names_the_build_type():
    catkin_package = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg is missing')
    package = catkin_package.parse_package(str(ROOT / 'package.xml'))
    assert (package.name, package.get_build_type()) == ('da_ros', 'ament_python')
    version = re.search(r"version='([^']+)'", (ROOT / 'setup.py').read_text())
    assert version and package.version == version[1]
    assert (ROOT / 'CHANGELOG.rst').read_text().count(package.version)


def test_colcon_takes_the_checkout_for_an_ament_python_package(checkout):
    """An invalid package.xml would silently make it a plain Python package."""
    for module in ('colcon_core', 'colcon_ros', 'colcon_package_information'):
        pytest.importorskip(module, reason=f'{module} is not installed')
    main = 'import sys; from colcon_core.command import main; sys.exit(main())'
    listed = run([sys.executable, '-c', main, '--log-base', os.devnull, 'list', '--base-paths',
                  '.'], checkout, COLCON_HOME=str(checkout.parent))
    assert listed.split() == ['da_ros', '.', '(ros.ament_python)']


def test_wheel_installs_the_share_files_where_ros_looks_for_them(wheel):
    files = set(installed_to_prefix(wheel))
    expected = {'share/ament_index/resource_index/packages/da_ros', 'share/da_ros/package.xml'}
    expected |= {f'share/da_ros/launch/{path.name}' for path in (ROOT / 'launch').glob('*.py')}
    expected |= {f'share/da_ros/{path.relative_to(ROOT)}'
                 for path in (ROOT / 'config').rglob('*') if path.is_file()}
    assert expected <= files
    assert {'share/da_ros/config/fastdds.xml', 'share/da_ros/config/pano_depth.rviz',
            'share/da_ros/launch/pano_depth.launch.py'} <= expected


def test_every_command_exists_and_has_an_executable_forwarder_for_ros2_run(wheel):
    files, modules = installed_to_prefix(wheel), set(wheel.namelist())
    commands = commands_of(wheel)
    assert 'pano_depth' in commands
    for name, target in commands.items():
        module, function = target.split(':')
        source = module.replace('.', '/') + '.py'
        assert source in modules and f'def {function}(' in wheel.read(source).decode()
        assert files[f'lib/da_ros/{name}'].external_attr >> 16 & 0o111, f'{name} not executable'
    assert {Path(path).name for path in files if path.startswith('lib/')} == set(commands)


def test_a_forwarder_runs_the_console_script_of_its_prefix(wheel, tmp_path):
    for folder in ('bin', 'lib/da_ros'):
        (tmp_path / folder).mkdir(parents=True)
    script, real = tmp_path / 'lib/da_ros/pano_depth', tmp_path / 'bin/pano_depth'
    script.write_bytes(wheel.read(installed_to_prefix(wheel)['lib/da_ros/pano_depth']))
    real.write_text('#!/bin/sh\necho "$# $2"\n')
    for path in (script, real):
        path.chmod(0o755)
    assert run([str(script), '--ros-args', 'two words'], tmp_path) == '2 two words\n'


def test_default_bundle_and_samples_are_inside_the_installed_package(wheel):
    names = set(wheel.namelist())
    shipped = [path for folder in ('da_ros/bundles', 'da_ros/samples', 'training/configs',
                                   'training/benchmarks')
               for path in (ROOT / folder).rglob('*')
               if path.is_file() and '__pycache__' not in path.parts]
    missing = {str(path.relative_to(ROOT)) for path in shipped} - names
    assert not missing
    assert {'da_ros/bundles/pano_tiny/model.yaml', 'da_ros/samples/lobby.jpg',
            'training/labelling/free_space.html'} <= names


def test_plain_installation_needs_neither_ros_wheels_nor_torch(wheel):
    required = [line.split(':', 1)[1].strip() for line in
                text_of(wheel, '.dist-info/METADATA').splitlines()
                if line.startswith('Requires-Dist:')]
    plain = [line for line in required if 'extra ==' not in line]
    assert any(line.startswith('onnxruntime') for line in plain)
    assert not [line for line in plain if re.match(r'ros-|torch|open3d|rosbags', line)]
    for name, extra in (('ros-rclpy', 'ros'), ('torch', 'training'), ('openvino', 'openvino')):
        assert [line for line in required if line.startswith(name)
                and re.search(f'extra == [\'"]{extra}[\'"]', line)], name


def test_wheel_holds_no_tests_and_no_top_level_package_but_two(wheel):
    top = {name.split('/')[0] for name in wheel.namelist()}
    assert {name for name in top if not name.startswith('da_ros-')} == {'da_ros', 'training'}


def displays() -> dict[str, dict]:
    view = yaml.safe_load((ROOT / 'config/pano_depth.rviz').read_text())
    assert view['Visualization Manager']['Global Options']['Fixed Frame'] == 'camera_link'
    return {display['Name']: display for display in view['Visualization Manager']['Displays']}


def test_rviz_shows_topics_of_the_node_with_their_types():
    pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros])')
    from da_ros.ros.outputs import RELIABLE_KEEP_2, TOPICS
    shown = {display['Topic']['Value'].lstrip('/'): display
             for display in displays().values() if 'Topic' in display}
    assert set(shown) == {'image', 'depth/preview', 'points', 'scan'}
    for topic in set(shown) - {'image'}:
        assert shown[topic]['Class'] == f'rviz_default_plugins/{TOPICS[topic].__name__}'
        assert shown[topic]['Topic']['Depth'] == RELIABLE_KEEP_2.depth
        assert shown[topic]['Topic']['Reliability Policy'] == 'Reliable'


def test_rviz_shows_frames_and_a_floor_grid():
    assert {'rviz_default_plugins/TF', 'rviz_default_plugins/Grid'} <= {
        display['Class'] for display in displays().values()}
    assert all(display['Enabled'] for display in displays().values())


@pytest.mark.parametrize('path', sorted((ROOT / 'requirements').glob('lock_py*.txt')),
                         ids=lambda path: path.name)
def test_locked_wheels_are_those_that_are_pinned(path):
    """For versions that depend on Python, one of the pinned ones."""
    def named(text: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, version in re.findall(r'^([\w.-]+)(?:\[\w+\])?==([^\s;]+)', text, re.MULTILINE):
            found.setdefault(name.lower(), set()).add(version)
        return found
    locked = path.read_text()
    pinned = named((ROOT / 'requirements/base.txt').read_text()
                   + (ROOT / 'requirements/ros.txt').read_text())
    kept = named(locked)
    assert set(pinned) <= set(kept)
    for name, versions in pinned.items():
        assert kept[name] <= versions, f'{name}: run requirements/lock.py'
    assert locked.count('--hash=sha256:') == len(kept) > 50 and '://' not in locked

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The floor plan: who may import whom, how full a folder is, and the head of every file."""

import ast
from pathlib import Path
import subprocess

from conftest import ROOT
import pytest

HEAD = ('Copyright 2026 da_ros maintainers', 'SPDX-License-Identifier: Apache-2.0')
# The rank of each room; a room imports its own rank and those below.
DA_ROS = {'': 0, 'memory': 0, 'cameras': 0, 'derived': 0, 'backends': 0, 'engines': 0,
          'bags': 1, 'ros': 2, 'commands': 3}
TRAINING = {'data': 0, 'networks': 1, 'losses': 1, 'simulator': 2, 'curation': 2, 'checkpoints': 3,
            'bundling': 4, 'scoring': 4, 'benchmarks': 4, 'labelling': 5, 'run': 5, '': 6}
APART = {('networks', 'losses'), ('simulator', 'curation'), ('bundling', 'scoring'),
         ('labelling', 'run')}      # of one rank, and still no business of each other
ROS = {'rclpy', 'sensor_msgs', 'std_msgs', 'std_srvs', 'builtin_interfaces', 'rcl_interfaces',
       'diagnostic_msgs', 'lifecycle_msgs', 'nav_msgs', 'geometry_msgs', 'rosgraph_msgs'}
FULLEST_FOLDER, LONGEST_FILE = 25, 400


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package by dotted name."""
    return {'.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
            for path in sorted((ROOT / package).rglob('*.py'))}


def imports(path: Path, lazy: bool = True) -> set[str]:
    """Return all that a file imports, `package.module.name` where a name is imported from it."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    found = set()
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def room(name: str) -> str:
    """Return the folder below the package that a module lies in, '' for the package itself."""
    parts = name.split('.')
    return parts[1] if len(parts) > 2 or (ROOT / parts[0] / parts[-1]).is_dir() else ''


@pytest.mark.parametrize('package, ranks', [('da_ros', DA_ROS), ('training', TRAINING)])
def test_a_room_imports_only_what_lies_below_it(package, ranks):
    known = modules(package)
    wrong = []
    for name, path in known.items():
        for other in imports(path) & set(known):
            mine, theirs = room(name), room(other)
            if other == package or mine == theirs:
                continue
            if ranks[theirs] > ranks[mine] or (
                    (mine, theirs) in APART or (theirs, mine) in APART):
                wrong.append(f'{name} imports {other}')
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('package', ['da_ros', 'training'])
def test_no_module_imports_itself_through_others(package):
    known = modules(package)
    graph = {name: (imports(path) & set(known)) - {name, package} for name, path in known.items()}
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, ' -> '.join((*way[way.index(name):], name))
        if name not in done:
            for other in sorted(graph[name]):
                follow(other, (*way, name))
            done.add(name)

    for name in graph:
        follow(name, ())


def test_only_the_ros_face_the_commands_and_the_benchmarks_import_ros():
    for package in ('da_ros', 'training'):
        for name, path in modules(package).items():
            if not name.startswith(('da_ros.ros', 'da_ros.commands')):
                assert not {word.split('.')[0] for word in imports(path)} & ROS, name


def test_the_runtime_imports_neither_training_nor_torch():
    for name, path in modules('da_ros').items():
        assert not {word.split('.')[0] for word in imports(path)} & {'training', 'torch'}, name


def test_the_top_of_training_holds_commands_alone():
    for path in (ROOT / 'training').glob('*.py'):
        assert path.name == '__init__.py' or "__name__ == '__main__'" in path.read_text(), path


def test_folders_and_files_can_be_taken_in_at_a_glance():
    for package in ('da_ros', 'training'):
        for folder in {path.parent for path in modules(package).values()}:
            count = sum(path.name != '__init__.py' for path in folder.glob('*.py'))
            assert count <= FULLEST_FOLDER, (folder, count)
    for path in tracked('*.py'):
        assert len(path.read_text(encoding='utf-8').splitlines()) <= LONGEST_FILE, path


def test_no_two_test_files_share_a_name():
    names = [path.name for path in tracked('test_*.py')]    # pytest imports them by name alone
    assert sorted(names) == sorted(set(names))


def test_every_source_file_names_its_holder_and_its_licence():
    for path in [*tracked('*.py'), *tracked('*.sh'), *tracked('*.c'), *tracked('scripts/*')]:
        lines = path.read_text(encoding='utf-8').splitlines()
        head = lines[1:3] if lines and lines[0].startswith('#!') else lines[:2]
        assert [line.lstrip('#/ ') for line in head] == list(HEAD), path


def tracked(pattern: str) -> list[Path]:
    """Return the project's own files of a pattern; without git, those that lie there."""
    done = subprocess.run(['git', 'ls-files', '--', pattern], cwd=ROOT, capture_output=True,
                          text=True)
    names = done.stdout.split('\n') if done.returncode == 0 else map(str, ROOT.rglob(pattern))
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Each Python, numpy and ROS that has wheels: `make test-matrix`.

    nox -s "tests(python='3.12', numpy='2', ros='jazzy')" table    # some; `nox --list` names them
    nox -s humble -- CHECKOUT                # the calls of rclpy against Humble's own source

A Python is found on the PATH; one that is not there is skipped. Neither torch nor open3d is
installed, as on a robot. Results: docs/compatibility.md.
"""

from pathlib import Path
import xml.etree.ElementTree as ET

import nox

nox.options.reuse_venv = 'yes'
nox.options.default_venv_backend = 'uv|virtualenv'
nox.options.error_on_missing_interpreters = False
PYTHONS = ('3.10', '3.11', '3.12', '3.13')
BASE = {'1.26': 'base_ros', '2': 'base'}               # numpy -> requirements
ROS = {'jazzy': 'ros', 'kilted': 'ros_kilted'}
NO_WHEELS = {('3.13', '1.26'): 'numpy 1.26 has no wheels for Python 3.13'}
TOOLS = ('pytest', 'pytest-timeout', 'hypothesis', 'psutil', 'onnx', 'rosbags', 'mcap', 'av',
         'matplotlib', 'plyfile')
PINS = ['-c', 'requirements/demo.txt', '-c', 'requirements/training.txt',
        '-c', 'requirements/test.txt']
# Everything that needs no ROS, once for each Python and numpy. What a network or a fit of lenses
# knows takes longest and does not depend on Python.
CORE = ('test/core', 'test/bags', 'test/test_fuzz.py',
        '-k', 'not pano_base and not rendered_frames and not two_circles')
# What shows that node, bags and commands work with a ROS.
NODE, CYCLE = 'test/ros/test_node.py::test_', 'test/ros/test_lifecycle.py::test_'
LIVE = (
    'test/ros/test_conversions.py',
    f'{NODE}one_image_becomes_every_output_with_its_stamp_and_frames',
    f'{NODE}compressed_images_are_served_and_damaged_or_video_ones_refused',
    f'{NODE}a_bad_set_of_parameters_is_rejected_whole_with_its_reason',
    f'{NODE}every_parameter_is_described_and_numbers_have_a_range',
    f'{NODE}quality_of_service_can_be_overridden',
    f'{CYCLE}lifecycle_without_autostart_can_go_round_twice',
    f'{CYCLE}a_signal_while_frames_stream_ends_cleanly',
    'test/ros/test_parameters.py::test_every_wrong_value_at_the_start_is_named_and_the_node_lives',
    'test/commands/test_infer.py::test_a_folder_becomes_range_preview_depth_and_cloud',
    'test/commands/test_replay.py::test_replay_publishes_every_frame_with_its_stamp_and_clock',
    'test/commands/test_replay.py::test_live_node_and_offline_evaluator_agree_bit_for_bit')
RESULTS = Path('.nox/results')
# Set by the ROS wheels beside nox, and inherited: the wheels of a session would not find theirs.
OF_OTHER_WHEELS = {'LD_LIBRARY_PATH': None, '_ROS_WHEELS_BOOTSTRAP_COMPLETE': None}


@nox.session(python=PYTHONS)
@nox.parametrize('numpy', [*BASE])
@nox.parametrize('ros', [*ROS])
def tests(session: nox.Session, numpy: str, ros: str) -> None:
    """Install the pinned wheels and run the tests."""
    result = RESULTS.absolute() / f'{session.python}, {numpy}, {ros}.xml'
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    if why := NO_WHEELS.get((str(session.python), numpy)):
        session.skip(why)
    session.install('--only-binary', 'numpy', '-r', f'requirements/{BASE[numpy]}.txt',
                    '-r', f'requirements/{ROS[ros]}.txt', *PINS, *TOOLS)
    session.install('--no-deps', '--editable', '.')
    chosen = (*LIVE, *CORE) if ros == 'jazzy' else LIVE
    session.run('python', '-m', 'pytest', *chosen, '-q', f'--junitxml={result}',
                env=OF_OTHER_WHEELS)


@nox.session(venv_backend='none')
def table(session: nox.Session) -> None:
    """Print what ran, as the table of docs/compatibility.md."""
    print('| Python, numpy, ROS 2 | passed | failed | skipped |\n|---|---|---|---|')
    for path in sorted(RESULTS.glob('*.xml')):
        suite = next(ET.parse(path).iter('testsuite')).attrib
        failed, skipped = int(suite['failures']) + int(suite['errors']), int(suite['skipped'])
        print(f'| {path.stem} | {int(suite["tests"]) - failed - skipped} | {failed} | {skipped} |')
    for (python, numpy), why in NO_WHEELS.items():
        print(f'| {python}, {numpy} | not run: {why} | | |')


@nox.session(python='3.10', default=False)
def humble(session: nox.Session) -> None:
    """Check every name and argument of rclpy that is used against the source of Humble's."""
    if not session.posargs:
        session.error('name a checkout: git clone --branch 3.3.15 https://github.com/ros2/rclpy')
    session.install('-r', 'requirements/base.txt', *PINS, 'mypy', 'types-PyYAML')
    session.run('mypy', '--follow-imports', 'silent', 'da_ros/ros', 'da_ros/commands',
                env={'MYPYPATH': f'{Path(session.posargs[0]).resolve()}/rclpy'})

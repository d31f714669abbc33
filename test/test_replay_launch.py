"""The replay launch file, wherever launch is installed."""

from pathlib import Path

import pytest

pytest.importorskip('launch_ros', reason='launch_ros is not installed')

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import (
    get_launch_description_from_python_launch_file,
)

try:
    FILE = Path(get_package_share_directory('da_ros')) / 'launch' / 'replay.launch.py'
except PackageNotFoundError:
    pytest.skip('da_ros is not in the ament index: source install/setup.sh',
                allow_module_level=True)


def test_missing_bag_is_named_and_every_argument_has_a_description():
    description = get_launch_description_from_python_launch_file(str(FILE))
    declared = {e.name: e for e in description.entities if isinstance(e, DeclareLaunchArgument)}
    assert {'bag', 'player', 'rate', 'loop', 'record', 'image', 'rviz', 'model'} <= set(declared)
    assert all(argument.description for argument in declared.values())
    context = LaunchContext()
    for argument in declared.values():
        argument.execute(context)
    context.launch_configurations['bag'] = '/nowhere/bag'
    player = next(e for e in description.entities if isinstance(e, OpaqueFunction))
    with pytest.raises(RuntimeError, match="bag '/nowhere/bag' does not exist"):
        player.execute(context)

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The camera on its robot, live: turned, tilted, mirrored, fisheye, masked, seen through views."""

from dataclasses import fields
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from conftest import METRES_PER_LEVEL, write_stand_in_bundle
from geometry_msgs.msg import Quaternion
from ros_peer import array_of, environment, image_msg
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2

from da_ros.bags.transforms import quaternion_from
from da_ros.cameras.calibration import write_calibration
from da_ros.cameras.models import FisheyeCamera, Lens
from da_ros.config import Config, PREFIXES
from da_ros.sphere import erp_rays, rotation_from_rpy

SECOND = 10**9
SIZE = (64, 128)
CIRCLES = FisheyeCamera((160, 320), (Lens((80, 80), 78, 200),
                                     Lens((240, 80), 78, 200, yaw_deg=180)))


@pytest.fixture
def run(start, model):
    """Return a function that starts the node with parameters; __ in a name stands for a dot."""
    def run(**parameters):
        return start(model=model, **{name.replace('__', '.'): value
                                     for name, value in parameters.items()})
    return run


def rotation(*rpy_deg: float) -> np.ndarray:
    return rotation_from_rpy(*np.deg2rad(rpy_deg))


def world(rays: np.ndarray) -> np.ndarray:
    """Return what the stand-in network reads as range: 24 m ahead, 4 m behind, smooth between."""
    levels = (14 + 10 * rays[..., 0]) / METRES_PER_LEVEL
    picture = np.zeros((*rays.shape[:2], 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.round(levels), 255
    return picture


def range_of(rays: np.ndarray) -> np.ndarray:
    return 14 + 10 * rays[..., 0]


@pytest.fixture
def model(tmp_path) -> str:
    return str(write_stand_in_bundle(tmp_path / 'stand_in', size_hw=SIZE).folder)


def one_of_each(peer, image: np.ndarray, *more: str):
    """Publish an image until depth, points and scan of it are here."""
    kinds = {'depth/image': Image, 'points': PointCloud2, 'scan': LaserScan}
    kinds |= {name: CameraInfo if name.endswith('info') else Image for name in more}
    got = {name: peer.subscribe(kind, name) for name, kind in kinds.items()}
    peer.publish_until(image_msg(image, 5 * SECOND), lambda: all(got.values()), 'every output')
    return {name: msgs[-1] for name, msgs in got.items()}


def points_of(msg: PointCloud2) -> np.ndarray:
    return np.frombuffer(msg.data, np.float32).reshape(-1, msg.point_step // 4)[:, :3]


def check_points(msg: PointCloud2, body_from_world: np.ndarray, tolerance_m: float) -> None:
    """Assert that every point is where the world has it, in the body's frame."""
    points = points_of(msg)
    range_m = np.linalg.norm(points, axis=1)
    rays = points / range_m[:, None] @ body_from_world
    assert len(points) > 3000 and np.abs(range_m - range_of(rays)).max() < tolerance_m


def check_depth(msg: Image, image: np.ndarray, tolerance_m: float) -> None:
    """Assert that the depth image shows what the camera image says, pixel by pixel."""
    small = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA)
    expected = small[..., 0] * METRES_PER_LEVEL
    assert np.abs(array_of(msg) - expected).max() < tolerance_m


@pytest.mark.parametrize('mirrored', [False, True])
def test_a_turned_camera_gives_points_in_its_body_and_depth_in_its_image(run, peer, mirrored):
    run(erp__roll_deg=180, erp__pitch_deg=10, erp__yaw_deg=-50,
          erp__mirrored=mirrored)
    body_from_camera = rotation(180, 10, -50)
    rays = erp_rays(256, 512) @ body_from_camera.T
    image = world(rays[:, ::-1] if mirrored else rays)
    got = one_of_each(peer, image)
    check_points(got['points'], np.eye(3), 0.7)
    check_depth(got['depth/image'], image, 0.9)
    assert got['points'].header.frame_id == got['scan'].header.frame_id == 'camera_link'
    assert got['depth/image'].header.frame_id == 'camera_frame'


def test_an_imu_levels_the_scan_and_leaves_the_points_in_the_body(run, peer):
    """The tilted camera: points in its body, beams in a level frame with a name of its own."""
    node = run(levelling__source='imu', scan__min_height_m=-0.5)
    tilt = rotation(12, -20, 130)                       # world from body, any heading
    level_from_body = rotation(12, -20, 0)
    imu = Imu()
    imu.header.stamp.sec = 5
    imu.orientation = Quaternion(**dict(zip('xyzw', map(float, quaternion_from(tilt)))))
    points, scan = peer.subscribe(PointCloud2, 'points'), peer.subscribe(LaserScan, 'scan')
    depth = peer.subscribe(Image, 'depth/image')
    image = world(erp_rays(256, 512) @ level_from_body.T)

    def level() -> bool:
        peer.publish(imu, 'imu')
        return bool(depth and points) and bool(scan) and scan[-1].header.frame_id.endswith('level')
    peer.publish_until(image_msg(image, 5 * SECOND), level, 'a level scan')
    points.clear()
    peer.publish_until(image_msg(image, 5 * SECOND), lambda: points, 'points')
    check_points(points[-1], level_from_body.T, 0.7)
    check_depth(depth[-1], image, 0.9)
    assert scan[-1].header.frame_id == 'camera_link_level'
    angle = scan[-1].angle_min + scan[-1].angle_increment * np.arange(720)
    assert np.nanmax(np.abs(np.array(scan[-1].ranges) - (14 + 10 * np.cos(angle)))) < 0.7
    assert 'nobody publishes the frames' in node.log or has_tf2()


def has_tf2() -> bool:
    try:
        import tf2_msgs  # noqa: F401
    except ImportError:
        return False
    return True


def test_odometry_levels_and_a_silent_source_is_told(run, peer):
    odometry = pytest.importorskip('nav_msgs.msg', reason='nav_msgs is not installed').Odometry()
    node = run(levelling__source='odometry', levelling__wait_s=0,
                 base_from_camera='"0 0 1 0 0.1 3.0"')
    base_from_body, world_from_base = rotation_from_rpy(0, 0.1, 3.0), rotation(-9, 4, 77)
    odometry.header.stamp.sec = 5
    odometry.pose.pose.orientation = Quaternion(**dict(zip('xyzw', map(float, quaternion_from(
        world_from_base)))))
    up = (world_from_base @ base_from_body).T @ [0, 0, 1]
    points, diagnostics = peer.subscribe(PointCloud2, 'points'), peer.diagnostics()
    image = world(erp_rays(256, 512))
    peer.publish_until(image_msg(image, 9 * SECOND), lambda: points, 'points without a tilt')
    check_points(points[-1], np.eye(3), 0.7)            # exact by the mounting's pitch as well
    assert 'levelling: no tilt within 0.5 s of the image: none has come' in node.log
    peer.publish_until(image_msg(image, 9 * SECOND), lambda: any(
        'levelling: no tilt' in status.message for status in diagnostics), 'a warning')

    def level() -> bool:
        peer.publish(odometry, 'odometry')
        return 'the tilt of odometry is used again' in node.log
    peer.publish_until(image_msg(image, 5 * SECOND), level, 'the tilt')
    scan = peer.subscribe(LaserScan, 'scan')
    peer.publish_until(image_msg(image, 5 * SECOND), lambda: scan, 'a scan')
    # The network's image is the level one: ahead is lower by the pitch that gravity tells.
    pitch = np.arctan2(-up[0], np.hypot(up[1], up[2]))
    assert abs(np.nanmax(scan[-1].ranges) - (14 + 10 * np.cos(pitch))) < 0.7


def test_an_orientation_of_zeros_is_refused_with_its_remedy(run, peer):
    node = run(levelling__source='imu')
    depth = peer.subscribe(Image, 'depth/image')
    imu = Imu()
    imu.header.stamp.sec = 5
    imu.orientation.w = 0.0

    def told() -> bool:
        peer.publish(imu, 'imu')
        return bool(depth) and 'is no rotation; use a source that measures one' in node.log
    peer.publish_until(image_msg(world(erp_rays(64, 128)), 5 * SECOND), told, 'the refusal')


def test_fisheye_circles_become_points(run, peer, tmp_path):
    write_calibration(tmp_path / 'fisheye.yaml', CIRCLES)
    run(fisheye__calibration=str(tmp_path / 'fisheye.yaml'))
    height, width = CIRCLES.size_hw
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    image = np.where((col < 160)[..., None], world(CIRCLES.lenses[0].rays(col, row)),
                     world(CIRCLES.lenses[1].rays(col, row)))
    got = one_of_each(peer, image)
    check_points(got['points'], np.eye(3), 0.8)
    check_depth(got['depth/image'], world(erp_rays(64, 128)), 0.8)
    other = peer.diagnostics()
    peer.publish_until(image_msg(world(erp_rays(64, 128)), 6 * SECOND), lambda: any(
        'calibration is of 320 x 160 px' in status.message for status in other), 'a refusal')


def test_the_robot_itself_is_unknown(run, peer, tmp_path):
    """By a picture of the camera's image, by boxes and by a cut: NaN in depth, no points."""
    picture = np.zeros((128, 256), np.uint8)
    picture[:, 20:40] = 255
    cv2.imwrite(str(tmp_path / 'robot.png'), picture)
    run(body_mask__picture=str(tmp_path / 'robot.png'), body_mask__below_deg=-70,
          body_mask__boxes='"-2 -0.2 0 -1 0.2 3"', base_from_camera='"0 0 1 0 0 0"')
    got = one_of_each(peer, world(erp_rays(64, 128)))
    depth = array_of(got['depth/image'])
    rays = erp_rays(*SIZE)
    expected = np.degrees(np.arcsin(rays[..., 2])) < -70
    expected[:, 10:20] = True
    expected[32, [0, -1]] = True                        # the box, behind the camera
    assert np.isnan(depth[expected]).all() and np.isnan(depth).mean() < 0.24
    assert np.isnan(got['scan'].ranges[0])


def test_views_show_the_same_world_through_a_pinhole(run, peer):
    run(views='"front 0 0 90 64x48; left 90 10 70 64x48"', erp__yaw_deg=30)
    image = world(erp_rays(256, 512) @ rotation(0, 0, 30).T)
    names = [f'views/{view}/{topic}' for view in ('front', 'left')
             for topic in ('depth', 'image', 'camera_info')]
    got = one_of_each(peer, image, *names)
    for view, axis in (('front', rotation(0, 0, 0)), ('left', rotation(0, 10, 90))):
        info, depth = got[f'views/{view}/camera_info'], array_of(got[f'views/{view}/depth'])
        k = np.array(info.k).reshape(3, 3)
        col, row = np.meshgrid(np.arange(64), np.arange(48))
        rays = np.stack([np.ones(col.shape), -(col - k[0, 2]) / k[0, 0],
                         -(row - k[1, 2]) / k[1, 1]], -1) @ axis.T
        length = np.linalg.norm(rays, axis=-1)
        assert np.abs(depth * length - range_of(rays / length[..., None])).max() < 0.7
        assert info.distortion_model == 'plumb_bob' and (info.height, info.width) == (48, 64)
        assert got[f'views/{view}/image'].encoding == 'bgr8'
        assert info.header.frame_id == f'camera_link_{view}_optical_frame'


# ---- profiles and refusals ----

@pytest.mark.parametrize('values, text', [
    (dict(camera='go_pro'), "camera 'go_pro' has no profile; known are"),
    (dict(fisheye__calibration='/nowhere.yaml'), 'calibration /nowhere.yaml is not readable'),
    (dict(body_mask__picture='/nowhere.png'), "body_mask.picture '/nowhere.png' is not a read"),
    (dict(body_mask__boxes='"1 2 3"'), "body_mask.boxes '1 2 3' is no box"),
    (dict(body_mask__boxes='"-1 -1 -1 1 1 1"'), 'the camera, at 0 0 0 m in the base frame, is in'),
    (dict(base_from_camera='"0 0 1"'), "base_from_camera '0 0 1' needs 6 numbers"),
    (dict(levelling__source='tf', base_from_camera='"0 0 1 0 0 0"'), 'contradicts levelling.so'),
    (dict(views='front'), "views 'front' is no view"),
    (dict(views='"front 0 0 190 64x48"'), "field of view 190 of 'front' is outside 1 to 150")])
def test_what_cannot_be_is_refused_at_configure_by_name(run, values, text):
    node = run(**values)
    node.wait_for_log(text)
    assert node.process.poll() is None


def test_command_line_over_file_over_profile_over_default(tmp_path, peer, model):
    (tmp_path / 'lab.yaml').write_text(
        '/**/pano_depth:\n  ros__parameters:\n    image_topic: lab/image\n'
        '    stamp_offset_s: -3\n    consumer_timeout_s: 9.0\n    scan: {beams: 360}\n')
    (tmp_path / 'params.yaml').write_text(
        '/**/pano_depth:\n  ros__parameters:\n    stamp_offset_s: -2.0\n'
        '    consumer_timeout_s: 8.0\n')
    log = (tmp_path / 'node.log').open('w')
    arguments = ['--params-file', tmp_path / 'params.yaml', '-p', f'camera:={tmp_path}/lab.yaml',
                 '-p', 'consumer_timeout_s:=7.0', '-p', f'model:={model}', '-p',
                 'backend:=onnxruntime']
    process = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.ros.node', '--ros-args', *map(str, arguments)],
        stdout=log, stderr=subprocess.STDOUT, env=environment())
    try:
        scan = peer.subscribe(LaserScan, 'scan')
        peer.publish_until(image_msg(world(erp_rays(64, 128)), 9 * SECOND), lambda: scan,
                           'a scan', 'lab/image')
        assert scan[0].header.stamp.sec == 7                        # the file over the profile
        assert peer.get_parameter('consumer_timeout_s') == 7.0      # the command line over both
        assert len(scan[0].ranges) == 360                           # the profile over the default
        assert peer.get_parameter('image_transport') == 'raw'       # and the default
        result = peer.set_parameters(camera='theta')
        assert not result.successful and 'read when the node starts' in result.reason
    finally:
        process.kill()
        process.wait()


def test_every_shipped_profile_names_parameters_alone():
    from da_ros.cameras.profiles import folders, read_profile
    names = sorted(path.stem for path in folders()[0].glob('*.yaml'))
    assert names == ['gazebo', 'generic', 'insta360_fisheye', 'insta360_ros', 'theta']
    known = {prefix + item.name for group, prefix in PREFIXES.items()
             for item in fields(getattr(Config(), group))}
    for name in names:
        assert set(read_profile(name)) <= known


def test_a_profile_with_an_unknown_name_is_refused(run, tmp_path):
    (tmp_path / 'lab.yaml').write_text('a:\n  ros__parameters: {imagetopic: x}\n')
    run(camera=str(tmp_path / 'lab.yaml')).wait_for_log(
        "sets 'imagetopic', which is no parameter")
    (tmp_path / 'bad.yaml').write_text('nothing')
    run(camera=str(tmp_path / 'bad.yaml')).wait_for_log('is no parameter file')


# ---- video ----

def test_h264_is_served_from_its_first_key_frame_on_and_losses_are_told(run, peer):
    pytest.importorskip('av', reason='the extra da_ros[video] is not installed')
    from sensor_msgs.msg import CompressedImage
    from video_frames import encoded
    node = run(image_transport='h264', image_topic='cam')
    near, far = (np.full((64, 128, 3), level, np.uint8) for level in (40, 200))
    messages = encoded([near] * 8 + [far] * 8, 8, {})
    depth, diagnostics = peer.subscribe(Image, 'depth/image'), peer.diagnostics()
    peer.until(lambda: 'subscribed' in node.log, 'the subscription')
    number = 0

    def send(index: int) -> None:
        nonlocal number
        number += 1
        msg = CompressedImage(format='h264', data=messages[index])
        msg.header.stamp.sec, msg.header.frame_id = number, 'camera_frame'
        peer.publish(msg, 'cam/compressed')
        peer.spin(0.1)

    for index in (5, 6, 7):
        send(index)
    assert not depth
    for _ in range(3):
        for index in range(8):
            send(index)
    peer.until(lambda: depth, 'a picture')
    for index in (8, 10):
        send(index)
    node.wait_for_log('an h264 message was lost; waiting for the next key frame')
    peer.until(lambda: any(value.key == 'latency decode p50 / p99' for status in diagnostics
                           for value in status.values), 'the time of decoding')
    peer.publish(CompressedImage(format='jpeg', data=b'\xff\xd8'), 'cam/compressed')
    node.wait_for_log("compressed format 'jpeg' is not h264; set image_transport to compressed")



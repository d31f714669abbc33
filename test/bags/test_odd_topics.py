# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Topics that nobody here can read are listed and left alone; what lies beside them is read."""

import re
import shutil
import sqlite3

from mcap.writer import Writer
import numpy as np
import pytest

from da_ros.bags.bag import BagReader, IMAGE
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.storage import BagError

SERVICE = 'bool on\n---\nbool done\n'       # rosbag2 stores the .srv as definition of the event
PIXELS = np.full((8, 16, 3), 7, np.uint8)


def write_images(path, storage='mcap', odd=(), count=3):
    """Write images, and beside them topics of odd definitions."""
    with BagWriter(path, storage) as bag:
        for name, kind, text in odd:
            connection = bag._writer.add_connection(name, kind, msgdef=text,
                                                    rihs01='RIHS01_' + '0' * 64)
            bag._writer.write(connection, 1, bytes(16))
        for i in range(count):
            bag.write('/camera/image', bag.image(i * 10**9, 'camera', PIXELS, 'bgr8'), i * 10**9)
    return path


def write_mcap(file, source, channels, profile='ros2'):
    """Copy the images of a bag into one mcap file, after channels of other encodings."""
    with file.open('wb') as stream, BagReader(source) as bag:
        writer = Writer(stream)
        writer.start(profile=profile)
        for topic, encoding, language, definition in channels:
            schema = writer.register_schema('app.Event', language, definition) if language else 0
            writer.add_message(writer.register_channel(topic, encoding, schema), 5, b'{}', 5)
        channel = next(c for c in bag._storages[0].channels if c.topic == '/camera/image')
        if profile == 'ros2':
            schema = writer.register_schema(IMAGE, 'ros2msg', channel.definition.encode())
            images = writer.register_channel('/camera/image', 'cdr', schema)
            for message in bag.messages(['/camera/image']):
                writer.add_message(images, message.log_ns, message.raw, message.log_ns)
        writer.finish()
    return file


def images_of(bag):
    return [message.decode().data[0] for message in bag.messages(['/camera/image'])]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('kind, text', [
    ('robot/srv/SetLamp_Event', SERVICE), ('robot/msg/Broken', 'std_msgs/Header header\n???\n'),
    ('robot/msg/Nested', 'robot/Elsewhere what\n')])
def test_a_definition_that_cannot_be_read_costs_only_its_topic(tmp_path, storage, kind, text):
    path = write_images(tmp_path / 'bag', storage, [('/odd', kind, text)])
    with BagReader(path) as bag:
        assert images_of(bag) == [7, 7, 7]
        assert bag.left_alone == {'/odd': f'the definition of {kind} cannot be read'}
        assert list(bag.messages(['/odd'])) == []
        with pytest.raises(BagError, match='left alone: /odd .the definition of robot/'):
            bag.find_topic('/odd', (IMAGE,), 'image')


def test_definitions_that_contradict_each_other_serve_each_its_own_topic(tmp_path):
    other = f'std_msgs/Header header\n{"=" * 80}\nMSG: std_msgs/Header\nstring frame_id\n'
    path = write_images(tmp_path / 'bag', 'mcap', [('/old', 'robot/msg/Old', other)])
    with BagReader(path) as bag:
        assert images_of(bag) == [7, 7, 7] and '/old' in bag.kinds


@pytest.mark.parametrize('text, field', [
    ('std_msgs/Header header\nuint32 heigHt\nuint32 width\n', 'Image.height'),
    ('std_msgs/Header header\nfloat32 height\nuint32 width\n', 'Image.height'),
    ('uint32 height\nuint32 width\n', 'Image.header')])
def test_an_image_that_is_defined_otherwise_than_in_ros_is_left_alone(tmp_path, text, field):
    line = '=' * 80
    text += (f'{line}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n'
             f'{line}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n')
    path = write_images(tmp_path / 'bag', 'mcap', [('/odd', IMAGE, text)], count=0)
    with BagReader(path) as bag:
        assert not bag.kinds and list(bag.messages(['/odd'])) == []
        with pytest.raises(BagError, match=f'left alone: /odd .{IMAGE} is defined with another '
                           f'field {field} than in ROS'):
            bag.find_topic('', (IMAGE,), 'image')


def test_channels_of_other_encodings_are_listed_and_left_alone(tmp_path):
    source = write_images(tmp_path / 'bag')
    binary = bytes(range(128, 256))                # no UTF-8
    file = write_mcap(tmp_path / 'one.mcap', source, [
        ('/events', 'json', 'jsonschema', b'{"type": "object"}'), ('/free', 'json', '', b''),
        ('/scene', 'protobuf', 'protobuf', binary), ('/flat', 'flatbuffer', 'flatbuffer', binary),
        ('/custom', 'cdr', 'tongue', b'?')])
    with BagReader(file) as bag:
        assert images_of(bag) == [7, 7, 7] and list(bag.kinds) == ['/camera/image']
        assert bag.left_alone == {
            '/events': 'json messages, not cdr', '/free': 'json messages, not cdr',
            '/scene': 'protobuf messages, not cdr', '/flat': 'flatbuffer messages, not cdr',
            '/custom': 'defined in tongue'}
        assert bag.duration_s == pytest.approx(2)
    shutil.copy(file, source / 'bag.mcap')         # the same within a folder of rosbag2
    with BagReader(source) as bag:
        assert images_of(bag) == [7, 7, 7] and len(bag.left_alone) == 5


def test_types_without_a_stored_definition_are_those_of_ros(tmp_path):
    folder = write_images(tmp_path / 'bag', 'sqlite3')
    with sqlite3.connect(folder / 'bag.db3') as database:    # recorders write `unknown`
        database.execute("UPDATE message_definitions SET encoding='unknown', "
                         "encoded_message_definition=''")
        database.execute("INSERT INTO topics VALUES (9, '/odd', 'robot/msg/Odd', 'cdr', '', '')")
        database.execute("INSERT INTO topics VALUES (10, '/json', 'Odd', 'json', '', '')")
    with BagReader(folder) as bag:
        assert images_of(bag) == [7, 7, 7]
        assert bag.left_alone == {'/odd': 'the bag holds no definition of robot/msg/Odd',
                                  '/json': 'json messages, not cdr'}


def test_ros1_messages_in_an_mcap_are_named_with_the_remedy(tmp_path):
    file = write_mcap(tmp_path / 'one.mcap', write_images(tmp_path / 'bag'), [
        ('/camera/image', 'ros1', 'ros1msg', b'Header header\n')], profile='ros1')
    with pytest.raises(BagError, match=r'one.mcap holds ROS 1 messages .*rosbags-convert'):
        BagReader(file)


@pytest.mark.parametrize('storage, file', [('mcap', 'bag.mcap'), ('sqlite3', 'bag.db3')])
def test_a_folder_without_its_metadata_names_reindex_and_its_files(tmp_path, storage, file):
    folder = write_images(tmp_path / 'bag', storage)
    (folder / 'metadata.yaml').unlink()
    with pytest.raises(BagError, match=f'no metadata.yaml .*ros2 bag reindex .*{file}'):
        BagReader(folder)
    with BagReader(folder / file) as bag:
        assert images_of(bag) == [7, 7, 7]


@pytest.mark.parametrize('text', ['', '- 1\n', 'rosbag2_bagfile_information: {version: 8}\n',
                                  'a: [', '\0\0'])
def test_damaged_metadata_name_reindex(tmp_path, text):
    folder = write_images(tmp_path / 'bag')
    (folder / 'metadata.yaml').write_text(text)
    with pytest.raises(BagError, match='metadata.yaml is damaged; run `ros2 bag reindex'):
        BagReader(folder)


def test_a_file_that_the_metadata_name_and_that_is_not_there_is_told(tmp_path):
    folder = write_images(tmp_path / 'bag')
    (folder / 'bag.mcap').rename(folder / 'other.mcap')
    with pytest.raises(BagError, match='metadata.yaml names bag.mcap, which is not there'):
        BagReader(folder)


def test_compressed_folders_are_read(tmp_path):
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
    from rosbags.rosbag2 import Writer as Bag
    with BagWriter(tmp_path / 'plain') as plain:
        msg = plain.image(5, 'camera', PIXELS, 'bgr8')
    for mode in (CompressionMode.FILE, CompressionMode.MESSAGE):
        bag = Bag(tmp_path / mode.name, version=8, storage_plugin=StoragePlugin.SQLITE3)
        bag.set_compression(mode, CompressionFormat.ZSTD)
        with bag:
            connection = bag.add_connection('/camera/image', IMAGE, typestore=plain.store)
            bag.write(connection, 5, plain.store.serialize_cdr(msg, IMAGE))
        with BagReader(tmp_path / mode.name) as bag:
            assert images_of(bag) == [7]


def test_damaged_messages_of_tf_cost_only_themselves(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for raw in (b'', b'\0\1\0\0', b'\0\1\0\0\xff\xff\xff\x7f'):
            bag.write_raw('/tf', 'tf2_msgs/msg/TFMessage', raw, 1)
        bag.write('/tf', bag.transform(2, 'odom', 'cam', (1, 0, 0), (0, 0, 0, 1)), 2)
    with BagReader(tmp_path / 'bag') as bag:
        tree = bag.transforms()
    assert tree.left_out == {'damaged messages of /tf': 3}
    assert tree.between('odom', 2, 'cam', 2)[0, 3] == 1


@pytest.mark.parametrize('mode', ['null', 'NONE', '""'])
def test_a_bag_whose_metadata_name_no_compression_is_read(tmp_path, mode):
    folder = write_images(tmp_path / 'bag')
    file = folder / 'metadata.yaml'
    text = re.sub(r'(compression_mode:).*', rf'\1 {mode}', file.read_text())
    assert f'compression_mode: {mode}' in text
    file.write_text(text)
    with BagReader(folder) as bag:
        assert images_of(bag) == [7, 7, 7]

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""pip install mcap. A ROS 2 mcap bag beside whose cdr topics a tool has logged one JSON channel."""
import glob, sys
from mcap.reader import make_reader
from mcap.writer import Writer
source = glob.glob(sys.argv[1] + '/*.mcap')[0]
with open(source, 'rb') as old, open(sys.argv[2], 'wb') as new:
    writer, channels = Writer(new), {}
    writer.start(profile='ros2')
    schema = writer.register_schema('app.Event', 'jsonschema', b'{"type": "object"}')
    writer.add_message(writer.register_channel('/events', 'json', schema), 1_700_000_000 * 10**9, b'{}', 0)
    for s, c, m in make_reader(old).iter_messages():
        if c.topic not in channels:
            channels[c.topic] = writer.register_channel(c.topic, 'cdr', writer.register_schema(s.name, s.encoding, s.data))
        writer.add_message(channels[c.topic], m.log_time, m.data, m.publish_time)
    writer.finish()

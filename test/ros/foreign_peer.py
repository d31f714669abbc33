# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A process of another DDS (CycloneDDS): it sends images and writes down what it receives.

    python foreign_peer.py OUT_FOLDER RATE_HZ

No ROS and no FastDDS in here: types are built from their definitions, names and topics as rmw
makes them. Domain: ROS_DOMAIN_ID, on this host only.
A file TOPIC.bin holds the CDR bytes of each message behind its length.
"""

from dataclasses import dataclass, field
import os
from pathlib import Path
import struct
import sys
import time

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import float32, int32, sequence, uint8, uint32
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration


@dataclass
class Time(IdlStruct, typename='builtin_interfaces::msg::dds_::Time_'):
    sec: int32 = 0
    nanosec: uint32 = 0


@dataclass
class Header(IdlStruct, typename='std_msgs::msg::dds_::Header_'):
    stamp: Time = field(default_factory=Time)
    frame_id: str = ''


@dataclass
class Image(IdlStruct, typename='sensor_msgs::msg::dds_::Image_'):
    header: Header = field(default_factory=Header)
    height: uint32 = 0
    width: uint32 = 0
    encoding: str = ''
    is_bigendian: uint8 = 0
    step: uint32 = 0
    data: sequence[uint8] = field(default_factory=list)


@dataclass
class LaserScan(IdlStruct, typename='sensor_msgs::msg::dds_::LaserScan_'):
    header: Header = field(default_factory=Header)
    angle_min: float32 = 0
    angle_max: float32 = 0
    angle_increment: float32 = 0
    time_increment: float32 = 0
    scan_time: float32 = 0
    range_min: float32 = 0
    range_max: float32 = 0
    ranges: sequence[float32] = field(default_factory=list)
    intensities: sequence[float32] = field(default_factory=list)


@dataclass
class PointField(IdlStruct, typename='sensor_msgs::msg::dds_::PointField_'):
    name: str = ''
    offset: uint32 = 0
    datatype: uint8 = 0
    count: uint32 = 0


@dataclass
class PointCloud2(IdlStruct, typename='sensor_msgs::msg::dds_::PointCloud2_'):
    header: Header = field(default_factory=Header)
    height: uint32 = 0
    width: uint32 = 0
    fields: sequence[PointField] = field(default_factory=list)
    is_bigendian: bool = False
    point_step: uint32 = 0
    row_step: uint32 = 0
    data: sequence[uint8] = field(default_factory=list)
    is_dense: bool = False


@dataclass
class KeyValue(IdlStruct, typename='diagnostic_msgs::msg::dds_::KeyValue_'):
    key: str = ''
    value: str = ''


@dataclass
class DiagnosticStatus(IdlStruct, typename='diagnostic_msgs::msg::dds_::DiagnosticStatus_'):
    level: uint8 = 0
    name: str = ''
    message: str = ''
    hardware_id: str = ''
    values: sequence[KeyValue] = field(default_factory=list)


@dataclass
class DiagnosticArray(IdlStruct, typename='diagnostic_msgs::msg::dds_::DiagnosticArray_'):
    header: Header = field(default_factory=Header)
    status: sequence[DiagnosticStatus] = field(default_factory=list)


# As rmw_cyclonedds has it for ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST.
LOCALHOST = """<CycloneDDS><Domain><General><Interfaces>
  <NetworkInterface address="127.0.0.1" multicast="false"/></Interfaces></General>
  <Discovery><ParticipantIndex>auto</ParticipantIndex>
  <MaxAutoParticipantIndex>60</MaxAutoParticipantIndex>
  <Peers><Peer address="127.0.0.1"/></Peers></Discovery></Domain></CycloneDDS>"""
TOPICS = {'scan': LaserScan, 'points': PointCloud2, 'diagnostics': DiagnosticArray}


def main(out: Path, rate_hz: float) -> None:
    """Send and receive until killed."""
    reliable = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(10))
    number = int(os.environ['ROS_DOMAIN_ID'])
    domain = Domain(number, LOCALHOST)
    participant = DomainParticipant(number)
    readers = {name: DataReader(participant, Topic(participant, f'rt/{name}', kind, qos=reliable),
                                qos=reliable) for name, kind in TOPICS.items()}
    writer = DataWriter(participant, Topic(participant, 'rt/image', Image, qos=reliable),
                        qos=reliable)
    pixels = [10, 255, 0] * (32 * 64)             # 4 m everywhere, to the stand-in network
    files = {name: (out / f'{name}.bin').open('wb', buffering=0) for name in TOPICS}
    number = 0
    while domain:
        number += 1
        writer.write(Image(Header(Time(number, 7), 'camera_frame'), 32, 64, 'bgr8', 0, 192,
                           pixels))
        time.sleep(1 / rate_hz)
        for name, reader in readers.items():
            for message in reader.take(N=20):
                data = message.serialize()
                files[name].write(struct.pack('<I', len(data)) + data)


if __name__ == '__main__':
    main(Path(sys.argv[1]), float(sys.argv[2]))

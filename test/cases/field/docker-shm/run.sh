#!/bin/sh
# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
# run.sh FASTDDS_XML FOLDER_OF_PANORAMAS   (as root, in the virtual environment, own ROS_DOMAIN_ID)
PROFILE=$1 PICTURES=$2 unshare -m sh -c 'mount -t tmpfs -o size=64m none /dev/shm
export FASTRTPS_DEFAULT_PROFILES_FILE=$PROFILE
timeout -s INT 15 pano_depth & sleep 3
da_ros_replay "$PICTURES" --fps 3 --record "$(mktemp -d)/answers"; wait'

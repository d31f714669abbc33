#!/bin/sh
# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
# run.sh FOLDER_OF_PANORAMAS (own ROS_DOMAIN_ID, no FASTRTPS_DEFAULT_PROFILES_FILE)
pano_depth & node=$!
sleep 2
da_ros_replay "$1" --fps 2 --record "$(mktemp -d)/answers"
kill -INT $node

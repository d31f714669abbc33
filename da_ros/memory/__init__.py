# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory between frames: scale_track, warped, near; stages has what scan and clouds show."""

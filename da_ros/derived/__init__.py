# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What follows from a range map beside its points and scan: floor, edges, drops, confidence."""

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scores of a bag: its truth, checks of its stamps and mounting, report."""

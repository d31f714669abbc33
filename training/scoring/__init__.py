# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Predictions against truth: metrics, protocols, reports."""

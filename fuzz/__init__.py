# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Hostile input for everything that reads what others have written."""

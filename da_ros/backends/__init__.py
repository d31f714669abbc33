# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Inference runtimes, one module each, imported when chosen."""

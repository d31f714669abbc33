# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Textured scenes of triangles, and their panoramas with exact range."""

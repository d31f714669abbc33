# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Labels by a trained network, and what they are worth."""

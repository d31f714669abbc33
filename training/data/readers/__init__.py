# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One reader per public data set."""

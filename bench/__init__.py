# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0

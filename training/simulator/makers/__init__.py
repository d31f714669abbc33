# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Makers of single things: furniture, stock, people, slender and low ones."""

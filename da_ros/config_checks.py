# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which values of parameters go together."""

from __future__ import annotations

from da_ros.config import check_values, Config, ConfigError, height_band, PREFIXES


def check_config(config: Config) -> None:
    """
    Check all values, alone and together; bundle-dependent rules are the estimator's.

    :raises ConfigError: naming the parameters, the values and the remedy
    """
    for group, prefix in PREFIXES.items():
        check_values(getattr(config, group), prefix)
    rule, erp, scan = config.rule, config.erp, config.scan
    if rule.range_mask_m < 0 and rule.range_mask_m != -1:
        raise ConfigError(f'range_mask_m {rule.range_mask_m:g} is negative; use -1 for the '
                          'largest mask of the bundle, 0 for off')
    if rule.min_range_m >= rule.max_range_m:
        raise ConfigError(f'min_range_m {rule.min_range_m:g} must be below max_range_m '
                          f'{rule.max_range_m:g}')
    if config.mounting.base_from_camera and config.levelling.source == 'tf':
        raise ConfigError(f'base_from_camera {config.mounting.base_from_camera!r} contradicts '
                          'levelling.source tf, which takes the mounting from TF; give one of '
                          'them')
    partial = (erp.elevation_min_deg, erp.elevation_max_deg) != (-90, 90) or erp.mirrored
    if config.fisheye.calibration and partial:
        raise ConfigError('erp.elevation_*_deg and erp.mirrored contradict fisheye.calibration, '
                          'because fisheye circles are no panorama; leave one of them out')
    if config.fisheye.calibration and config.depth.size == 'camera':
        raise ConfigError('depth.size camera needs panoramas, not the circles of '
                          'fisheye.calibration; set depth.size network')
    if erp.elevation_min_deg >= erp.elevation_max_deg:
        raise ConfigError(f'erp.elevation_min_deg {erp.elevation_min_deg:g} must be below '
                          f'erp.elevation_max_deg {erp.elevation_max_deg:g}')
    if rule.camera_height_m > 0 >= scan.min_height_m:
        raise ConfigError(f'scan.min_height_m {scan.min_height_m:g} takes the floor for an '
                          'obstacle, because heights count from the floor when camera_height_m '
                          'is known; set, for instance, scan.min_height_m {:g} and '
                          'scan.max_height_m {:g}'.format(*height_band(rule.camera_height_m)))
    if scan.min_height_m >= scan.max_height_m:
        raise ConfigError(f'scan.min_height_m {scan.min_height_m:g} must be below '
                          f'scan.max_height_m {scan.max_height_m:g}')

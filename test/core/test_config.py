# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One parameter, one default, one description, everywhere the same."""

from dataclasses import fields, replace

from conftest import ROOT
from parameter_files import flatten
import pytest
import yaml

from da_ros.config import Config, ConfigError, ErpConfig, PREFIXES, RangeRule, ScanConfig
from da_ros.config_checks import check_config


def parameters() -> dict:
    """Return every parameter's default by its ROS name."""
    def default(group: str, name: str):
        value = getattr(getattr(Config(), group), name)
        return list(value) if isinstance(value, tuple) else value
    return {prefix + item.name: default(group, item.name)
            for group, prefix in PREFIXES.items()
            for item in fields(getattr(Config(), group))}


def test_parameter_file_lists_every_parameter_with_its_default():
    tree = yaml.safe_load((ROOT / 'config/pano_depth.yaml').read_text())
    assert flatten(tree['/**/pano_depth']['ros__parameters']) == parameters()


def test_readme_documents_every_parameter():
    readme = (ROOT / 'README.md').read_text()
    missing = [name for name in parameters() if f'`{name}`' not in readme]
    assert not missing


def test_every_field_is_described_and_every_number_ranged():
    for group in PREFIXES:
        for item in fields(getattr(Config(), group)):
            assert len(item.metadata['text']) > 10, item.name
            if type(item.default) in (int, float):
                assert item.metadata['minimum'] < item.metadata['maximum'], item.name


def test_defaults_pass_their_own_check():
    check_config(Config())


@pytest.mark.parametrize('group, change, message', [
    ('rule', RangeRule(range_mask_m=-0.5), 'range_mask_m -0.5 is negative; use -1'),
    ('rule', RangeRule(mask_probability=1.1), 'mask_probability 1.1 is outside 0 to 1'),
    ('rule', RangeRule(max_range_m=float('nan')), 'max_range_m nan is outside'),
    ('rule', RangeRule(min_range_m=5, max_range_m=5), 'min_range_m 5 must be below max_range_m 5'),
    ('rule', RangeRule(camera_height_m=1.2), 'scan.min_height_m -0.2 takes the floor'),
    ('erp', ErpConfig(elevation_min_deg=50, elevation_max_deg=40), 'elevation_min_deg 50 must be'),
    ('scan', ScanConfig(min_height_m=1, max_height_m=1), 'min_height_m 1 must be below'),
    ('scan', ScanConfig(beams=10), 'scan.beams 10 is outside 36 to 7200')])
def test_values_that_make_no_sense_are_refused_by_name(group, change, message):
    with pytest.raises(ConfigError, match=message):
        check_config(replace(Config(), **{group: change}))

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The documents point at things that exist and show no placeholder."""

import re

from conftest import ROOT
import pytest

PAGES = [ROOT / 'README.md', ROOT / 'SECURITY.md', ROOT / 'QUALITY_DECLARATION.md',
         *sorted((ROOT / 'docs').glob('*.md')),
         *sorted((ROOT / 'da_ros/bundles').glob('*/README.md')), *sorted(
             (ROOT / 'bench').glob('*.md'))]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_exists(page):
    links = re.findall(r'\]\(([^)#\s]+)', page.read_text(encoding='utf-8'))
    missing = [link for link in links
               if '://' not in link and not (page.parent / link).exists()]
    assert not missing


def test_readme_lists_every_command():
    readme = (ROOT / 'README.md').read_text()
    setup = (ROOT / 'setup.py').read_text()
    commands = re.findall(r"^    '(\w+)': '[\w.]+:main'", setup, re.MULTILINE)
    assert len(commands) >= 3
    assert not [command for command in commands if command not in readme]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_holds_a_placeholder(page):
    text = page.read_text(encoding='utf-8')
    assert '<!--' not in text
    assert not re.findall(r'^[*\s|-]*(?:TODO|TBD|FIXME|[A-Z]{4,})\s*$', text, re.MULTILINE)


def test_every_case_is_listed_with_tests_that_exist():
    page = (ROOT / 'test/cases/README.md').read_text()
    cases = [*(ROOT / 'test/cases/field').iterdir(), *(ROOT / 'test/cases/runtime').glob('e*.py')]
    assert len(cases) > 40 and not [c.stem for c in cases if f'| {c.stem} |' not in page]
    kept = re.findall(r'(test/[\w/]+\.py)::(\w+)', page)
    assert len(kept) >= len(cases)
    assert not [name for file, name in kept if f'def {name}(' not in (ROOT / file).read_text()]


def test_the_public_api_does_not_change_unnoticed():
    from public_api import FILE, public_api
    found, kept = public_api(), FILE.read_text(encoding='utf-8').splitlines()
    changed = [f'- {line}' for line in kept if line not in found] + [
        f'+ {line}' for line in found if line not in kept]
    assert not changed and found == kept, '\n'.join((
        'the public API has changed; if that is meant, say so in CHANGELOG.rst (see '
        'QUALITY_DECLARATION.md) and run `python test/public_api.py`:', *changed))

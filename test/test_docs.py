"""The documents point at things that exist and show no placeholder."""

from pathlib import Path
import re

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
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

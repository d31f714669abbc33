# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo's page: one row of pictures per panorama, one table of figures."""

from __future__ import annotations

from html import escape
from pathlib import Path

from da_ros.range_map import EMPTY, UNKNOWN

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1180px; color: #222; }
h2 { margin: 1.6em 0 .4em; } figure { margin: 0; } figcaption { color: #555; font-size: 13px; }
.row { display: grid; grid-template-columns: 2fr 2fr 1.1fr; gap: 14px; align-items: start; }
img { width: 100%; border-radius: 4px; } table { border-collapse: collapse; font-size: 13px; }
td, th { border: 1px solid #ccc; padding: 3px 8px; text-align: right; }
"""


def write_page(out: Path, rows: list[dict[str, str]], node_line: str,
               models: list[str]) -> Path:
    """
    Write `index.html` beside the demo's pictures.

    :param rows: the result table; the first column names the panorama
    :param node_line: what the node said about bundle and backend
    :param models: in the order of the columns of `models.jpg`
    """
    body = [f'<h1>da_ros demo</h1><p>{escape(node_line)}</p>', _table(rows),
            '<p>Preview: warm = near, cool = far on a log scale; black = seen and nothing within '
            f'the range mask (value {EMPTY} in range_mask), grey = unknown ({UNKNOWN}), '
            'white = closer than the minimum range. All ranges are metres along the ray.</p>']
    body += [_section(row['panorama']) for row in rows]
    body += ['<h2>The models that ship</h2><p>Camera, '
             f'{", ".join(map(escape, models))}; told a camera height of 1.5 m, 20 m mask.</p>'
             '<img src="models.jpg" alt="the same panoramas by each model">']
    page = out / 'index.html'
    page.write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>da_ros demo'
                    f'</title><style>{STYLE}</style>{"".join(body)}</html>', encoding='utf-8')
    return page


def _table(rows: list[dict[str, str]]) -> str:
    head = ''.join(f'<th>{escape(key)}</th>' for key in rows[0])
    lines = ''.join('<tr>' + ''.join(f'<td>{escape(value)}</td>' for value in row.values())
                    + '</tr>' for row in rows)
    return f'<table><tr>{head}</tr>{lines}</table>'


def _section(name: str) -> str:
    pictures = ((f'{name}_input.jpg', 'what the camera sees'),
                (f'{name}_preview.png', 'range'), (f'{name}_scan.png', 'scan from above'))
    figures = ''.join(f'<figure><img src="{file}" alt="{text}"><figcaption>{text}</figcaption>'
                      '</figure>' for file, text in pictures)
    return (f'<h2>{escape(name)}</h2><div class="row">{figures}</div>'
            f'<p>Files: <a href="{name}_depth_mm.png">depth in mm</a>, '
            f'<a href="{name}.ply">coloured cloud (PLY)</a></p>')

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Repeat a table of the papers at another scale: one training per row and seed, all else alike.

Examples:
    python -m training.ablate --table dap_losses --config training/configs/small.yaml \\
        --data shards/train --val shards/val --steps 600 --seeds 1 2 --out runs/ablation
    python -m training.ablate --table da2_losses ... \\
        --row-data 'without out-painting=shards/black'

The tables are training/configs/ablation_<table>.yaml: what each row changes in the config, and
what the paper measured. A finished row is kept, a killed one goes on where it was saved, one that
was asked for otherwise is refused. Writes <out>/<table>/table.md; under `accelerate launch` every
row trains on all processes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import re
import sys

import yaml

from da_ros.errors import DaRosError
from training import train
from training.data.commit import current_commit
from training.data.job import check_job, check_same, write_job
from training.labelling.ablation_table import markdown, Row, Table
from training.labelling.held_back import score_checkpoint
from training.run.config import config_from_dict, read_config, TrainConfig
from training.run.processes import process_state

CONFIGS = Path(__file__).parent / 'configs'


class AblationError(DaRosError):
    """A table that does not exist, or a row that cannot be trained as asked."""


def read_table(name: str) -> Table:
    """:raises AblationError: if there is no such table."""
    path = CONFIGS / f'ablation_{name}.yaml'
    if not path.is_file():
        names = sorted(p.stem.removeprefix('ablation_') for p in CONFIGS.glob('ablation_*.yaml'))
        raise AblationError(f'no table {name!r}; there are: {", ".join(names)}')
    values = yaml.safe_load(path.read_text())
    common = values.get('common', {})
    rows = tuple(Row(r['name'], merged(common, r.get('change', {})), r.get('paper', {}),
                     r.get('sources'), r.get('needs_data', False), r.get('max_m', 100.0))
                 for r in values['rows'])
    columns = {column: tuple(how) for column, how in values['columns'].items()}
    return Table(name, values['title'], columns, rows)


def merged(base: dict, change: dict) -> dict:
    """Return the base with changed fields; the dictionaries `loss` and `model` are merged."""
    return {**base, **{key: {**base.get(key, {}), **value} if isinstance(value, dict) else value
                       for key, value in change.items()}}


def data_of(row: Row, data: list[str], row_data: dict[str, str]) -> list[str]:
    """Return the --data of a row; nothing if the row cannot run with what was given."""
    if row.needs_data:
        return [row_data[row.name]] if row.name in row_data else []
    if row.sources is not None:
        return data[:row.sources] if len(data) >= row.sources else []
    return data


def row_source(word: str) -> tuple[str, str]:
    """:raises AblationError: if a word of --row-data is not ROW=SOURCE."""
    row, _, source = word.partition('=')
    if not row or not source:
        raise AblationError(f"--row-data {word!r} is not ROW=SOURCE, such as 'without "
                            "out-painting=shards/black'")
    return row, source


def run_row(row: Row, seed: int, folder: Path, data: list[str],
            args: argparse.Namespace) -> dict:
    """
    Train and score one row with one seed, or return what an earlier run found.

    :return: the config, `scores` by alignment, `steps`, `commit`
    :raises DaRosError: if the row fails, or was begun with another config, data or --val
    """
    config = row_config(row, seed, args.base)
    asked = {'config': config.as_dict(), 'steps': args.steps, 'data': data, 'val': args.val,
             'max_m': row.max_m}
    result = folder / 'result.json'
    if result.exists():
        found = json.loads(result.read_text())
        check_same(folder, found, asked)
        return found
    if (folder / 'resume.pt').exists():
        check_job(folder, asked)
    process_state().wait_for_everyone()          # everybody has looked
    main_process = process_state().is_main_process
    if main_process:
        write_job(folder, asked)
        (folder / 'config.yaml').write_text(yaml.safe_dump(config.as_dict()))
    process_state().wait_for_everyone()
    train.train(train.parse_args([
        '--config', str(folder / 'config.yaml'), '--data', *data, '--out', str(folder),
        '--steps', str(args.steps)]))
    if main_process:
        scores = score_checkpoint(folder, args.val, row.max_m)
        part = result.with_suffix('.tmp')
        part.write_text(json.dumps(
            {**asked, 'scores': scores, 'commit': current_commit()}, indent=1) + '\n')
        part.replace(result)
    process_state().wait_for_everyone()
    return json.loads(result.read_text())


def row_config(row: Row, seed: int, base: dict) -> TrainConfig:
    """Return the config of a row: the base, changed."""
    return config_from_dict({**merged(base, row.change), 'seed': seed}, f'row {row.name!r}')


def run(args: argparse.Namespace) -> None:
    """
    Run what is missing of a table and write it.

    :raises DaRosError: if the config or --row-data cannot be read, and on the first row that
        fails; finished rows stay
    """
    table = read_table(args.table)
    args.base = read_config(args.config).as_dict()
    row_data = dict(map(row_source, args.row_data))
    names = [row.name for row in table.rows]
    if unknown := [name for name in row_data if name not in names]:
        raise AblationError(f'--row-data {unknown[0]!r} is no row of {table.name}; there are: '
                            f'{", ".join(names)}')
    out = args.out / table.name
    found: dict[str, list[dict]] = {}
    left_out = []
    main_process = process_state().is_main_process
    for row in table.rows:
        data = data_of(row, args.data, row_data)
        if not data:
            left_out.append(row.name)
            continue
        for seed in args.seeds:
            folder = out / re.sub(r'\W+', '_', row.name).strip('_') / f'seed_{seed}'
            found.setdefault(row.name, []).append(run_row(row, seed, folder, data, args))
            if main_process:
                print(f'{row.name}, seed {seed}: done', flush=True)
    if main_process:
        text = markdown(table, found, left_out)
        (out / 'table.md').write_text(text)
        print(text)


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.ablate', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--table', required=True, help='ablation_<table>.yaml')
    parser.add_argument('--config', type=Path, required=True, help='what every row starts from')
    parser.add_argument('--data', action='extend', nargs='+', required=True, metavar='SOURCE',
                        help='shards; a data-scaling row uses the first of them')
    parser.add_argument('--row-data', action='extend', nargs='*', default=[], metavar='ROW=SOURCE',
                        help='other shards for one row')
    parser.add_argument('--val', action='extend', nargs='+', required=True, metavar='FOLDER',
                        help='held back')
    parser.add_argument('--steps', type=int, required=True, help='budget of each row')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2],
                        help='two or more show the noise')
    parser.add_argument('--out', type=Path, required=True)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        run(parse_args(argv))
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())

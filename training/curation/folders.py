# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Folders of panoramas in, folders of panoramas out: filter, sort, generate."""

from __future__ import annotations

from collections.abc import Iterator
import csv
import filecmp
import os
from pathlib import Path
import shlex
import shutil
import subprocess

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.bundle import sha256_of
from training.curation.outpaint import CurationError
from training.curation.sorting import DEFAULT, load_classifier
from training.curation.upright import find_vertical
from training.data.checks import Skips
from training.data.files import DataError, IMAGE_SUFFIXES, read_picture
from training.data.job import check_job, write_job


def panoramas(folder: Path, skips: Skips) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """
    Return (path, RGB image) below a folder; unreadable ones and those not 2:1 are skipped.

    :raises CurationError: at once, if there is no image
    """
    paths = sorted(p for p in folder.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES and
                   not any(part.startswith('.') for part in p.relative_to(folder).parts))
    if not paths:
        raise CurationError(f'{folder} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return _readable(folder, paths, skips)


def _readable(folder: Path, paths: list[Path],
              skips: Skips) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    for path in tqdm(paths, unit='image'):
        try:
            image = read_picture(path)
        except DataError as error:
            skips.add(str(folder), str(error))
            continue
        if image.shape[1] != 2 * image.shape[0]:
            skips.add(str(folder), f'{path} is {image.shape[1]} x {image.shape[0]} px, not 2:1')
            continue
        yield path, image


def keep_upright(folder: Path, out: Path, max_tilt_deg: float, drop_unsure: bool,
                 skips: Skips) -> dict[str, int]:
    """
    Link the panoramas whose vertical is the image's own into a folder; write OUT/upright.csv.

    :return: how many were 'upright', 'tilted' and 'unsure'
    :raises CurationError: if there is no image, or OUT or its table has another one of its name
    :raises JobError: if OUT was made with other limits
    """
    table = out / 'upright.csv'
    counts = {'upright': 0, 'tilted': 0, 'unsure': 0}
    rows, images = [], panoramas(folder, skips)
    _claim(out, {'command': 'filter', 'max_tilt_deg': max_tilt_deg, 'drop_unsure': drop_unsure})
    _check_table(table, folder)
    for path, image in images:
        vertical = find_vertical(image)
        upright = 'upright' if vertical.tilt_deg <= max_tilt_deg else 'tilted'
        verdict = upright if vertical.sure else 'unsure'
        counts[verdict] += 1
        rows.append((path.relative_to(folder), verdict, f'{vertical.tilt_deg:.2f}',
                     f'{vertical.share:.3f}', f'{vertical.length_deg:.0f}', _digest(path)))
        if verdict == 'upright' or (verdict == 'unsure' and not drop_unsure):
            _link(path, out / path.relative_to(folder))
    _write_table(table, ('image', 'verdict', 'tilt_deg', 'share', 'lines_deg', 'sha256'), rows)
    return counts


def sort_by_place(folder: Path, out: Path, classifier: str | None, skips: Skips) -> dict[str, int]:
    """
    Link the panoramas into OUT/indoor and OUT/outdoor; write OUT/places.csv.

    :param classifier: MODULE:FUNCTION; None = the built-in one
    :return: how many went where
    :raises CurationError: if there is no image or classifier, or OUT or its table has another
        image of a name
    :raises JobError: if OUT was made with another classifier
    """
    table = out / 'places.csv'
    classify = load_classifier(classifier) if classifier else DEFAULT
    counts, rows, images = {'indoor': 0, 'outdoor': 0}, [], panoramas(folder, skips)
    _claim(out, {'command': 'sort', 'classifier': classifier or 'built in'})
    _check_table(table, folder)
    for path, image in images:
        probability = classify(image)
        place = 'outdoor' if probability > 0.5 else 'indoor'
        counts[place] += 1
        rows.append((path.relative_to(folder), place, f'{probability:.3f}', _digest(path)))
        _link(path, out / place / path.relative_to(folder))
    _write_table(table, ('image', 'place', 'p_outdoor', 'sha256'), rows)
    return counts


def generate(command: str, prompts: list[str], out: Path, seed: int, skips: Skips) -> int:
    """
    Let a command of your own make a panorama per prompt: OUT/%06d.png, told in OUT/prompts.csv.

    :param command: run once per prompt with {prompt}, {seed} and {out} filled in
    :return: number of new panoramas; existing ones are kept
    :raises CurationError: if there is no command, it has other placeholders or fails, or OUT was
        made of other prompts
    :raises JobError: if OUT was made by another command or from another seed
    """
    if not command or '{out}' not in command:
        raise CurationError(
            'no panorama generator is configured; give --generator "COMMAND {prompt} {seed} {out}"'
            ', a command of yours that writes one panorama to {out}')
    _filled(command, '', seed, out)         # refused before OUT is bound to it
    _claim(out, {'command': 'generate', 'generator': command, 'seed': seed})
    _claim_prompts(out / 'prompts.csv', prompts)
    made = 0
    for index, prompt in enumerate(tqdm(prompts, unit='panorama')):
        path, part = out / f'{index:06d}.png', out / f'.{index:06d}.part.png'
        if path.exists():
            continue
        _run(_filled(command, prompt, seed + index, part))
        try:
            image = read_picture(part)
        except DataError as error:
            raise CurationError(f'the generator left no image for prompt {index + 1}: {prompt!r}'
                                ) from error
        if image.shape[1] == 2 * image.shape[0]:
            part.rename(path)
            made += 1
        else:
            part.unlink()
            skips.add(str(out), f'prompt {index + 1}: {image.shape[1]} x {image.shape[0]} px, '
                                'not 2:1')
    return made


def _filled(command: str, prompt: str, seed: int, out: Path) -> list[str]:
    """:raises CurationError: if a placeholder does not exist, or a brace or quote is open."""
    try:
        return [word.format(prompt=prompt, seed=seed, out=out) for word in shlex.split(command)]
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise CurationError(f'--generator {command!r} cannot be filled in ({error}); there are '
                            '{prompt}, {seed} and {out}, other braces are written {{ and }}'
                            ) from error


def _claim_prompts(path: Path, prompts: list[str]) -> None:
    """:raises CurationError: if an image is already there of another prompt; more may follow."""
    asked = [(f'{index:06d}.png', prompt) for index, prompt in enumerate(prompts)]
    known = {row[0]: row[1] for row in _read_table(path)}
    for image, prompt in asked:
        if known.get(image, prompt) != prompt:
            raise CurationError(f'{path.with_name(image)} is of the prompt {known[image]!r}, now '
                                f'{prompt!r}; give another --out')
    _write_table(path, ('image', 'prompt'), asked)


def _run(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError as error:
        raise CurationError(f'the generator {words[0]!r} cannot be run: {error}') from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or 'no message').splitlines()[-1]
        raise CurationError(f'the generator ended with code {done.returncode}: {last}')


def _claim(out: Path, asked: dict[str, str | float | bool]) -> None:
    """
    Say in OUT/job.json by what its images were chosen; those of other folders may join them.

    :raises JobError: if they were chosen otherwise: what no longer belongs there would stay
    """
    check_job(out, asked)
    write_job(out, asked)


def _check_table(table: Path, folder: Path) -> None:
    """
    Refuse a folder before anything of it is linked; rows of an earlier version have no sha256.

    :raises CurationError: if it holds another image of a name that the table has
    """
    if not table.exists():
        return
    with table.open(newline='') as file:
        known = {row['image']: row.get('sha256') for row in csv.DictReader(file)}
    for name, digest in known.items():
        if digest and _digest(folder / name) not in ('', digest):
            raise CurationError(f'{table}: {name} is another image than {folder / name}; give '
                                'another --out')


def _digest(path: Path) -> str:
    """Return by what an image is known in a table; '' if it cannot be read."""
    try:
        return sha256_of(path)[:16]
    except OSError:
        return ''


def _link(source: Path, target: Path) -> None:
    """:raises CurationError: if another image has that name already."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if not filecmp.cmp(source, target, shallow=False):
            raise CurationError(f'{target} is another image than {source}; give another --out')
        return
    try:
        os.link(source.resolve(), target)       # of a symbolic link: the image itself
    except OSError:             # another file system
        part = target.with_name(f'.{target.name}.part')
        shutil.copyfile(source, part)
        part.rename(target)


def _read_table(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline='') as file:
        return list(csv.reader(file))[1:]


def _write_table(path: Path, header, rows) -> None:
    """Write rows (image, ...); those of images that came from other folders stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {row[0]: row for row in _read_table(path)}
    table.update((str(row[0]), row) for row in rows)
    part = path.with_suffix('.tmp')
    with part.open('w', newline='') as file:
        csv.writer(file).writerows([header, *table.values()])
    part.rename(path)

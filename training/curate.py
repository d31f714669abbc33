# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Make panoramas to learn from out of other data.

panorama: a public RGB-D or panoramic data set -> shards (DA² section 3.1)
frames, filter, sort, generate: video and generators -> folders of unlabelled panoramas (DAP 3.1)

Example:
    python -m training.curate panorama --set hypersim=DATA/hypersim --out shards/hypersim
    python -m training.curate frames VIDEO.mp4 --out frames
    python -m training.curate filter frames --out upright
    python -m training.curate sort upright --out sorted
    python -m training.curate generate --prompts prompts.txt --out made \\
        --generator 'my_generator --text {prompt} --seed {seed} --to {out}'
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from da_ros.errors import DaRosError
from training.curation.outpaint import CurationError
from training.data.checks import Skips


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.curate', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)

    panorama = commands.add_parser('panorama', help='data set -> shards of panoramas')
    panorama.add_argument('--set', required=True, metavar='NAME=FOLDER',
                          help='a set of training/data/catalogue.py and where it is unpacked')
    panorama.add_argument('--option', action='extend', nargs='*', default=[], metavar='KEY=VALUE',
                          help='of its reader, e.g. metres_per_unit=0.1 or protocol=da2')
    panorama.add_argument('--out', type=Path, required=True, help='folder of the shards')
    panorama.add_argument('--height', type=int, default=512, help='rows of a panorama [px]')
    panorama.add_argument('--count', type=int, default=0, help='panoramas; 0 = each view once')
    panorama.add_argument('--per-shard', type=int, default=96)
    panorama.add_argument('--seed', type=int, default=0)
    panorama.add_argument('--workers', type=int, default=1, help='processes')
    panorama.add_argument('--fill', choices=('pyramid', 'flux'), default='pyramid')
    panorama.add_argument('--flux-weights', type=Path,
                          help='folder of a FLUX.1-Fill pipeline, for --fill flux')
    panorama.add_argument('--flux-lora', type=Path, help='LoRA weights for it')
    panorama.add_argument('--flux-sphere', action='store_true',
                          help='concatenate spherical coordinates, as that LoRA may need')
    panorama.add_argument('--flux-steps', type=int, default=30)

    frames = commands.add_parser('frames', help='equirectangular video -> frames')
    frames.add_argument('videos', type=Path, nargs='+')
    frames.add_argument('--out', type=Path, required=True)
    frames.add_argument('--every', type=float, default=1.0, help='interval [s]')
    frames.add_argument('--min-sharpness', type=float, default=0.002)
    frames.add_argument('--min-change', type=float, default=2.0, help='[grey levels]')

    upright = commands.add_parser('filter', help='keep what stands upright')
    upright.add_argument('folder', type=Path)
    upright.add_argument('--out', type=Path, required=True)
    upright.add_argument('--max-tilt', type=float, default=6.0, help='[degrees]')
    upright.add_argument('--drop-unsure', action='store_true',
                         help='drop panoramas with too few straight lines to tell')

    sort = commands.add_parser('sort', help='indoor and outdoor')
    sort.add_argument('folder', type=Path)
    sort.add_argument('--out', type=Path, required=True)
    sort.add_argument('--classifier', metavar='MODULE:NAME',
                      help='a function image (H, W, 3) RGB -> P(outdoor); default: built in')

    generate = commands.add_parser('generate', help='panoramas from a generator of yours')
    generate.add_argument('--generator', default='', help='command with {prompt} {seed} {out}')
    generate.add_argument('--prompts', type=Path, required=True, help='one per line')
    generate.add_argument('--out', type=Path, required=True)
    generate.add_argument('--seed', type=int, default=0)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    args = parse_args(argv)
    try:
        skips = COMMANDS[args.command](args)
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for line in skips.report():
        print(line)
    return 0


def run_panorama(args: argparse.Namespace) -> Skips:
    """Turn a data set into shards."""
    from training.curation.panoramas import PanoramaJob, write_panoramas

    name, root = _pair(args.set, '--set', 'NAME=FOLDER')
    if args.height < 2 or args.per_shard < 1 or args.count < 0:
        raise CurationError('--height, --per-shard and --count must be positive')
    flux = {'weights': args.flux_weights, 'lora': args.flux_lora, 'steps': args.flux_steps,
            'sphere': args.flux_sphere}
    job = PanoramaJob(
        name=name, root=Path(root), out=args.out, height=args.height, seed=args.seed,
        options=_options(args.option), fill=args.fill,
        flux=flux if args.fill == 'flux' else {}, count=args.count, per_shard=args.per_shard)
    return write_panoramas(job, args.workers)


def run_frames(args: argparse.Namespace) -> Skips:
    """Take the sharp frames of videos."""
    from training.curation.frames import check_names, DamagedVideoError, extract

    skips = Skips()
    check_names(args.videos, args.out)
    for video in args.videos:
        try:
            count = extract(video, args.out, args.every, args.min_sharpness, args.min_change)
            print(f'{video}: {count} frames')
        except DamagedVideoError as error:          # its good frames are kept
            skips.add('damaged video', str(error))
        except CurationError as error:
            skips.add('video', str(error))
    if len(skips.reasons['video']) == len(args.videos):
        raise CurationError(skips.reasons['video'][0])
    return skips


def run_filter(args: argparse.Namespace) -> Skips:
    from training.curation.folders import keep_upright

    skips = Skips()
    counts = keep_upright(args.folder, args.out, args.max_tilt, args.drop_unsure, skips)
    print(', '.join(f'{count} {verdict}' for verdict, count in counts.items()))
    return skips


def run_sort(args: argparse.Namespace) -> Skips:
    """Sort panoramas into indoor and outdoor."""
    from training.curation.folders import sort_by_place

    skips = Skips()
    counts = sort_by_place(args.folder, args.out, args.classifier, skips)
    print(', '.join(f'{count} {place}' for place, count in counts.items()))
    return skips


def run_generate(args: argparse.Namespace) -> Skips:
    from training.curation.folders import generate
    from training.data.files import read_text

    skips = Skips()
    prompts = [line.strip() for line in read_text(args.prompts).splitlines() if line.strip()]
    print(f'{generate(args.generator, prompts, args.out, args.seed, skips)} new panoramas')
    return skips


def _options(words: list[str]) -> dict[str, str]:
    """:raises CurationError: if a word is not KEY=VALUE or names a key again."""
    options: dict[str, str] = {}
    for key, value in (_pair(word, '--option', 'KEY=VALUE') for word in words):
        if key in options:
            raise CurationError(f'--option {key} is given twice, {options[key]} and {value}')
        options[key] = value
    return options


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    key, found, value = text.partition('=')
    if not found or not key or not value:
        raise CurationError(f'{option} {text} is not {form}')
    return key, value


COMMANDS = {'panorama': run_panorama, 'frames': run_frames, 'filter': run_filter,
            'sort': run_sort, 'generate': run_generate}


if __name__ == '__main__':
    sys.exit(main())

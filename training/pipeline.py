# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Run DAP's three stages (section 3.2) in a row; every step is a command of its own and is printed.

Example:
    accelerate launch --multi_gpu --num_processes 8 -m training.pipeline \\
        --synthetic shards/train --unlabelled sorted \\
        --val mixed=shards/val other=shards/warehouse \\
        --steps 100000 --indoor 300000 --outdoor 300000 --out runs/pipeline

`sorted` holds indoor/ and outdoor/, as `training.curate sort` makes them; simulated shards say
themselves what they show.

    stage1   scene-invariant labeler, on synthetic shards
    quality  discriminator: synthetic truth against stage 1's labels of the same images
    best.txt top N indoor and outdoor of stage 1's labels of the unlabelled images
    stage2   realism-invariant labeler, on synthetic shards and the best labels
    stage3   final model, on synthetic shards and stage 2's labels of all images

A finished step is kept; a killed one goes on where it can. Beside what a step makes, NAME.steps
holds the commands up to it, with the hash of each config: what others made is refused. Every stage
starts anew and has the same budget. Writes <out>/table.md: what each stage did to held-back
accuracy.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
import shlex
import sys
from types import ModuleType

from da_ros.bundle import sha256_of
from da_ros.errors import DaRosError
from training import discriminate, label, selection, train
from training.data.job import write_whole
from training.data.unlabelled import IMAGE_SUFFIXES
from training.labelling.held_back import score_checkpoint
from training.run.processes import process_state
from training.scoring.report import markdown_table

CONFIGS = Path(__file__).parent / 'configs'
CONTENT = '  # config '         # in a record, before the hash of the file
STAGES = ('stage1', 'stage2', 'stage3')
COLUMNS = {'AbsRel': ('none', 'abs_rel'), 'AbsRel aligned': ('median', 'abs_rel'),
           'δ1': ('none', 'delta_1'), 'edge F1': ('none', 'edge_f1')}


class PipelineError(DaRosError):
    """A step that failed and has said why, or one whose command has changed."""


@dataclass(frozen=True)
class Step:
    """One command; `module` has `parse_args` and `run`."""

    module: ModuleType
    words: list[str]
    done: Path | None = None        # what exists when it is done; None = always called

    def __str__(self) -> str:
        return f'python -m {self.module.__name__} {shlex.join(self.words)}'

    @property
    def line(self) -> str:
        """Return the command as the record holds it: with the content of the config it names."""
        if self.module is not train:
            return str(self)
        config = Path(self.words[self.words.index('--config') + 1])
        return f'{self}{CONTENT}{sha256_of(config)[:16]}'

    @property
    def out(self) -> Path:
        """Return what it makes, a folder or a file."""
        return Path(self.words[self.words.index('--out') + 1])

    @property
    def record(self) -> Path:
        """Return the file that holds the commands up to this step."""
        return self.out.with_name(f'{self.out.name}.steps')

    @property
    def begun(self) -> bool:
        """Return whether something is there that would be kept or gone on from."""
        return self.done is not None and (
            self.done.exists() or (self.out / 'resume.pt').exists())

    def __call__(self) -> None:
        """:raises DaRosError: if it fails."""
        if self.module is train:
            train.train(train.parse_args(self.words))
        elif self.module is not selection or process_state().is_main_process:
            self.module.run(self.module.parse_args(self.words))


def steps_of(args: argparse.Namespace) -> list[Step]:
    """Return the steps in order; labelling keeps its own finished shards and is always called."""
    out = args.out
    synthetic = [str(path) for path in args.synthetic]
    unlabelled = [str(path) for path in args.unlabelled]
    held_back = args.val[0].partition('=')[2]

    def training(stage: str, *data: str) -> Step:
        config = args.configs[STAGES.index(stage) % len(args.configs)]
        words = ['--config', str(config), '--data', *synthetic, *data, '--val', *args.val,
                 '--steps', str(args.steps), '--out', str(out / stage)]
        return Step(train, words, out / stage / 'done')

    def labelling(stage: str, data: list[str], folder: str, *more: str) -> Step:
        return Step(label, ['--checkpoint', str(out / stage), '--data', *data, '--out',
                            str(out / folder), *more])

    judging = Step(discriminate, [
        '--pairs', synthetic[0], str(out / 'labels/synthetic'), '--val', held_back,
        str(out / 'labels/held_back'), '--steps', str(args.quality_steps), '--out',
        str(out / 'quality')], out / 'quality' / 'checkpoint.safetensors')
    selecting = Step(selection, [
        '--labels', str(out / 'labels/stage1'), '--indoor', str(args.indoor), '--outdoor',
        str(args.outdoor), '--out', str(out / 'best.txt')], out / 'best.txt')
    return [
        training('stage1'),
        labelling('stage1', synthetic[:1], 'labels/synthetic'),
        labelling('stage1', [held_back], 'labels/held_back'),
        judging,
        labelling('stage1', unlabelled, 'labels/stage1', '--quality', str(out / 'quality')),
        selecting,
        training('stage2', str(out / 'best.txt')),
        labelling('stage2', unlabelled, 'labels/stage2'),
        training('stage3', str(out / 'labels/stage2'))]


def run(args: argparse.Namespace) -> None:
    """
    Run every step that is not done, then score the stages.

    :raises PipelineError: if a step fails (a later run goes on with it), its command has changed,
        or --out cannot be written
    """
    main_process = process_state().is_main_process
    steps = steps_of(args)
    commands = [step.line for step in steps]
    for number, step in enumerate(steps, 1):
        check_commands(step, commands[:number])
    for number, step in enumerate(steps, 1):
        if step.done and step.done.exists():
            continue
        process_state().wait_for_everyone()          # everybody has looked
        if main_process:
            print(f'\n$ {step}', flush=True)
        if main_process and step.done:
            write(step.record, '\n'.join(commands[:number]) + '\n')
        try:
            step()
        except DaRosError as error:
            raise PipelineError(f'{error}; this step failed: {step}') from error
        if step.done and step.done.name == 'done' and main_process:
            write(step.done, '')
        process_state().wait_for_everyone()
    if main_process:
        text = held_back_table(args)
        write(args.out / 'table.md', text)
        print(f'\n{text}')


def write(path: Path, text: str) -> None:
    """:raises PipelineError: if the file cannot be written."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise PipelineError(f'{path} cannot be written: {error.strerror or error}; choose another '
                            '--out, or make room and run the same command again') from error


def check_commands(step: Step, commands: list[str]) -> None:
    """
    Refuse what a step made if it, or a step before it, had another command or config.

    What an earlier version made, without a record, is taken as it is. Whether a training that is
    not finished may go on with another content of its config is for `training.train` to say.

    :param commands: up to this step
    :raises PipelineError: naming the step that changed
    """
    if not step.begun or not step.record.exists():
        return
    for was, now in zip(step.record.read_text().splitlines(), commands):
        if now == step.line and not step.done.exists():
            was, now = (line.partition(CONTENT)[0] for line in (was, now))
        if was != now:
            raise PipelineError(f'{step.out} was made by other commands; delete it or choose '
                                f'another --out; this step was: {was} and is now: {now}')


def check_places(folders: list[Path]) -> None:
    """
    Refuse photos that the selection could not place, before days of training and not after.

    :raises PipelineError: naming the folder and the remedy
    """
    for folder in folders:
        names = [Path(folder.name) / path.relative_to(folder) for path in folder.rglob('*')
                 if path.suffix.lower() in IMAGE_SUFFIXES]
        if names and not any(set(selection.PLACES) & set(name.parts[:-1]) for name in names):
            raise PipelineError(f'{folder} has no folder indoor or outdoor, so no label of it '
                                'could be selected; sort it with `python -m training.curate sort`')


def held_back_table(args: argparse.Namespace) -> str:
    """Return a Markdown table: one row per stage and held-back set."""
    cells = [['held back, after', *COLUMNS]]
    for word in args.val:
        name, _, folder = word.partition('=')
        for stage in STAGES:
            scores = score_checkpoint(args.out / stage, [folder])
            cells.append([f'{name}, {stage}', *(
                f'{scores[align][metric]:.4f}' for align, metric in COLUMNS.values())])
    return markdown_table(cells) + '\n'


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.pipeline', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--synthetic', type=Path, action='extend', nargs='+', required=True,
                        help='shards with truth; the discriminator learns from the first folder')
    parser.add_argument('--unlabelled', type=Path, action='extend', nargs='+', required=True,
                        help='folders of images, or of shards whose range is not looked at')
    parser.add_argument('--val', action='extend', nargs='+', required=True, metavar='NAME=FOLDER',
                        help='held back; the discriminator is checked on the first')
    parser.add_argument('--configs', type=Path, nargs='+',
                        default=[CONFIGS / f'{stage}.yaml' for stage in STAGES],
                        help='of the three trainings, or one for all')
    parser.add_argument('--steps', type=int, required=True, help='of each training')
    parser.add_argument('--quality-steps', type=int, default=2000, help='of the discriminator')
    parser.add_argument('--indoor', type=int, default=300_000, help='labels to select')
    parser.add_argument('--outdoor', type=int, default=300_000, help='labels to select')
    parser.add_argument('--out', type=Path, required=True)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        args = parse_args(argv)
        if wrong := [word for word in args.val if '=' not in word]:
            raise PipelineError(f'--val {wrong[0]} is not NAME=FOLDER, e.g. mixed=shards/val')
        if len(args.configs) not in (1, len(STAGES)):
            raise PipelineError(f'--configs names {len(args.configs)} files; give one or three')
        for config in args.configs:
            if not config.is_file():
                raise PipelineError(f'config {config} does not exist; see training/configs')
        check_places(args.unlabelled)
        run(args)
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())

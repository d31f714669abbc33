# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Panoramas from video: the sharpest frame of every interval, unless nothing has moved."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import shutil

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.files import write_image
from training.curation.outpaint import CurationError
from training.data.job import check_job, NAME, write_job

SMALL = (512, 256)
FRAMES_OF_SLACK = 5     # what a video may hold less than its container says


class DamagedVideoError(CurationError):
    """A video of which only the first frames can be decoded."""


def sharpness(image: NDArray[np.uint8]) -> float:
    """Return the mean squared Laplacian over the variance of a small grey copy."""
    grey = cv2.cvtColor(cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA),
                        cv2.COLOR_BGR2GRAY).astype(np.float32)
    return float((cv2.Laplacian(grey, cv2.CV_32F) ** 2).mean() / max(float(grey.var()), 1.0))


def change(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the mean difference [grey levels] of two frames at 64 x 32 px."""
    thumbs = [cv2.resize(frame, (64, 32), interpolation=cv2.INTER_AREA).astype(np.int16)
              for frame in (first, second)]
    return float(np.abs(thumbs[0] - thumbs[1]).mean())


def good_frames(video: Path, every_s: float, min_sharpness: float,
                min_change: float) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """
    Yield (frame number, BGR image) of the sharpest frame of each interval.

    Left out are those less sharp than `min_sharpness`, and those that differ by less than
    `min_change` grey levels from the last one yielded.

    :raises CurationError: if the video cannot be read, or is not twice as wide as high
    :raises DamagedVideoError: after the last frame, if frames are missing behind it
    """
    capture = cv2.VideoCapture(str(video))
    rate = capture.get(cv2.CAP_PROP_FPS)
    if not capture.isOpened() or not rate > 0:
        raise CurationError(f'{video} is no video that OpenCV can read')
    interval, last, best = max(1, round(every_s * rate)), None, None
    number = 0
    while True:
        there, frame = capture.read()
        if there and number == 0 and frame.shape[1] != 2 * frame.shape[0]:
            raise CurationError(f'{video} is {frame.shape[1]} x {frame.shape[0]} px; '
                                'equirectangular video is twice as wide as high')
        if there:
            sharp = sharpness(frame)
            if best is None or sharp > best[0]:
                best = sharp, number, frame
        number += there
        if best is not None and (not there or number % interval == 0):
            if best[0] >= min_sharpness and (last is None or change(best[2], last) >= min_change):
                last = best[2]
                yield best[1], best[2]
            best = None
        if not there:
            break
    announced = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))    # 0 or less = not known
    capture.release()
    if number == 0:
        raise CurationError(f'{video} holds no frame that can be decoded')
    if announced > number + FRAMES_OF_SLACK:
        raise DamagedVideoError(f'{number} of {announced} frames decoded, the rest is damaged or '
                                'cut off')


def check_names(videos: list[Path], out: Path) -> None:
    """:raises CurationError: if two videos would fill the same folder."""
    named: dict[str, Path] = {}
    for video in videos:
        if named.setdefault(video.stem, video) != video:
            raise CurationError(f'{named[video.stem]} and {video} would both become '
                                f'{out / video.stem}; give them different --out')


def extract(video: Path, out: Path, every_s: float = 1.0, min_sharpness: float = 0.002,
            min_change: float = 2.0) -> int:
    """
    Write the good frames of a video to OUT/NAME/NAME_%06d.jpg; a finished video is left alone.

    :return: number of frames written
    :raises CurationError: as :func:`good_frames`; nothing is left of an unfinished video
    :raises DamagedVideoError: if the end of the video is missing, also where an earlier run found
        that; the good frames before it are kept
    :raises JobError: if OUT/NAME holds the frames of another video, or of other limits
    """
    folder = out / video.stem
    if not video.is_file():
        raise CurationError(f'no file {video}')
    asked = {'video': f'{video.name} of {video.stat().st_size} bytes', 'every_s': every_s,
             'min_sharpness': min_sharpness, 'min_change': min_change}
    if folder.exists():
        check_job(folder, asked)
        _check_whole(video, folder)
        return 0
    part = out / f'.{video.stem}.tmp'
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        damage = _write_frames(part, video, every_s, min_sharpness, min_change)
        write_job(part, {**asked, 'damage': damage})
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _check_whole(video, folder)
    return len(list(folder.glob('*.jpg')))


def _write_frames(part: Path, video: Path, *limits: float) -> str:
    """Write the good frames; return what is wrong with the rest of the video, or ''."""
    try:
        for number, frame in good_frames(video, *limits):
            write_image(part / f'{video.stem}_{number:06d}.jpg', frame)
    except DamagedVideoError as error:
        return str(error)
    return ''


def _check_whole(video: Path, folder: Path) -> None:
    """:raises DamagedVideoError: if a finished folder holds the first part of a video only."""
    job = folder / NAME
    damage = json.loads(job.read_text()).get('damage') if job.exists() else ''
    if damage:
        kept = len(list(folder.glob('*.jpg')))
        raise DamagedVideoError(f'{video}: {damage}; the {kept} good frames are in {folder}')

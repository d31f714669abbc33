# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Out-painting with a FLUX.1-Fill pipeline of diffusers, for those who have its weights.

DA² (section 3.1) trains a LoRA of rank 256 for FLUX.1-dev with the spherical coordinates of each
pixel concatenated to its channels. Its weights are not released; here are the places for them:
`lora` is loaded where one is given, :func:`condition_on_sphere` concatenates the coordinates.
FLUX.1-Fill is distilled for guidance and its pipeline takes no negative prompt; the paper's
("messy, low quality, blur, noise, low resolution, abnormal") has no place in it.

Needs `pip install diffusers transformers accelerate sentencepiece`. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.errors import reason_of
from training.curation.outpaint import CurationError

INSTALL = 'pip install diffusers transformers accelerate sentencepiece'
SCENE = {'indoor': 'an indoor scene', 'outdoor': 'an outdoor scene', 'mixed': 'a scene'}
PROMPT = 'a clean, realistic, high-resolution 360 degree equirectangular panorama of {scene}'
STEP_PX = 16            # sizes are multiples of what the autoencoder and the patches halve


class FluxFill:
    """An `outpaint.Outpainter`; the panorama is painted with its border repeated on each side."""

    def __init__(self, pipeline, place: str = 'mixed', steps: int = 30, guidance: float = 30.0,
                 border: float = 0.125):
        """
        Take a FluxFillPipeline that is on its device.

        :param place: indoor, outdoor or mixed, for the prompt
        :param border: share of the width repeated left and right, so that the seam closes
        """
        self._pipeline, self._steps, self._guidance = pipeline, steps, guidance
        self._prompt, self._border = PROMPT.format(scene=SCENE[place]), border

    @classmethod
    def load(cls, weights: Path | None, lora: Path | None = None, place: str = 'mixed',
             steps: int = 30, sphere: bool = False) -> FluxFill:
        """
        Load a pipeline from a folder, onto the GPU where there is one.

        :param sphere: concatenate spherical coordinates, as a LoRA of that kind needs
        :raises CurationError: if diffusers is missing, or the folder holds no FLUX.1-Fill
        """
        try:
            from diffusers import FluxFillPipeline
            import torch
        except ImportError as error:
            raise CurationError(f'--fill flux needs diffusers; run `{INSTALL}`') from error
        if weights is None or not (Path(weights) / 'model_index.json').is_file():
            raise CurationError(
                f'no FLUX.1-Fill pipeline in {weights}; its weights must be local: accept the '
                'licence of FLUX.1-Fill-dev, download it, and give its folder (--flux-weights)')
        cuda = torch.cuda.is_available()
        try:
            pipeline = FluxFillPipeline.from_pretrained(
                str(weights), local_files_only=True,
                dtype=torch.bfloat16 if cuda else torch.float32)
            if sphere:
                condition_on_sphere(pipeline.transformer, cls.border_of(0.125))
            if lora is not None:
                pipeline.load_lora_weights(str(lora), local_files_only=True)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise CurationError(f'{weights} cannot be loaded as FLUX.1-Fill: '
                                f'{reason_of(error)}') from error
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline.to('cuda') if cuda else pipeline, place, steps)

    @staticmethod
    def border_of(border: float) -> float:
        """Return the share of the *painted* width that lies left of the panorama."""
        return border / (1 + 2 * border)

    def __call__(self, image: NDArray[np.uint8], seen: NDArray[np.bool_],
                 rng: np.random.Generator) -> NDArray[np.uint8]:
        """
        Return the panorama painted where it is not seen.

        :raises CurationError: if its size is not a multiple of 16 px
        """
        from PIL import Image
        import torch

        height, width = seen.shape
        if height % STEP_PX:
            raise CurationError(f'FLUX paints multiples of {STEP_PX} px, got {height} rows')
        side = round(width * self._border / STEP_PX) * STEP_PX
        wide = np.pad(image, ((0, 0), (side, side), (0, 0)), mode='wrap')
        unseen = np.pad(~seen, ((0, 0), (side, side)), mode='wrap')
        painted = self._pipeline(
            prompt=self._prompt, image=Image.fromarray(wide),
            mask_image=Image.fromarray(unseen.astype(np.uint8) * 255), height=height,
            width=width + 2 * side, num_inference_steps=self._steps,
            guidance_scale=self._guidance, output_type='np',
            generator=torch.Generator().manual_seed(int(rng.integers(2 ** 31)))).images[0]
        closed = _close(painted, side, width)
        filled = np.rint(np.clip(closed, 0, 1) * 255).astype(np.uint8)
        return np.where(seen[..., None], image, filled)


def _close(painted: NDArray, side: int, width: int) -> NDArray:
    """Return the middle, blended over half a border with what was painted beyond the seam."""
    middle = painted[:, side:side + width].copy()
    reach = side // 2
    if reach:
        ramp = np.linspace(0.5, 1, reach)[None, :, None]
        beyond_left, beyond_right = painted[:, width + side:][:, :reach], painted[:, :side]
        middle[:, :reach] = ramp * middle[:, :reach] + (1 - ramp) * beyond_left
        middle[:, -reach:] = (ramp[:, ::-1] * middle[:, -reach:]
                              + (1 - ramp[:, ::-1]) * beyond_right[:, -reach:])
    return middle


def condition_on_sphere(transformer, border: float = 0.0):
    """
    Concatenate the spherical coordinates of each token to its channels (DA² section 3.1).

    The input layer grows by two columns, azimuth / pi and elevation / (pi / 2) of the token's
    middle. They start at zero, so that nothing changes until weights are loaded or trained.

    :param transformer: FluxTransformer2DModel
    :param border: share of the painted width left of the panorama (:meth:`FluxFill.border_of`)
    :return: the handle of the hook; `handle.remove()` leaves the wider layer
    """
    import torch

    narrow = transformer.x_embedder
    wide = torch.nn.Linear(narrow.in_features + 2, narrow.out_features,
                           device=narrow.weight.device, dtype=narrow.weight.dtype)
    with torch.no_grad():
        wide.weight.zero_()
        wide.weight[:, :-2], wide.bias[:] = narrow.weight, narrow.bias
    transformer.x_embedder = wide

    def concatenate(module, args, kwargs):
        tokens = kwargs['hidden_states']
        angles = token_angles(kwargs['img_ids'], border).to(tokens)
        kwargs['hidden_states'] = torch.cat([tokens, angles.expand(len(tokens), -1, -1)], -1)
        return args, kwargs
    return transformer.register_forward_pre_hook(concatenate, with_kwargs=True)


def token_angles(img_ids, border: float = 0.0):
    """
    Return azimuth / pi and elevation / (pi / 2) of tokens, (1, n, 2), both in [-1, 1].

    :param img_ids: (n, 3) of FLUX: 0, row, column of each token
    """
    import torch

    row, col = img_ids[:, 1].double(), img_ids[:, 2].double()
    rows, cols = row.max() + 1, col.max() + 1
    turns = ((col + 0.5) / cols - border) / (1 - 2 * border)
    azimuth = torch.remainder(1 - 2 * turns + 1, 2) - 1
    return torch.stack([azimuth, 1 - 2 * (row + 0.5) / rows], -1)[None]

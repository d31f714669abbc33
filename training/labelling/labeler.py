# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that labels: panorama in, range as the robot would publish it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
import torch

from da_ros.config import RangeRule
from da_ros.errors import DaRosError
from da_ros.estimator import apply_rule
from da_ros.panorama import resize_erp
from training.bundling.graph import Graph, make_graphs, MASK_OUTPUT, Options
from training.checkpoints.checkpoint import build, Checkpoint

RULE = RangeRule(min_range_m=0.0)      # a label may be as near as it likes


class LabelError(DaRosError):
    """An image, a labeler or a folder of labels that cannot be used."""


@dataclass(frozen=True, eq=False)
class Label:
    """One labelled panorama at the labeler's size."""

    image: NDArray[np.uint8]        # (h, w, 3) RGB, what the labeler saw
    range_m: NDArray[np.float32]    # (h, w); +inf = nothing within reach, NaN = mask and range
    #                                 disagree


class Labeler:
    """
    A network on one device; a label depends on its image and height alone.

    Images go through one by one, so that no image changes with its neighbours in a batch.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = 'cpu') -> None:
        """
        Build the network, for the image size that it was trained at.

        :raises ExportError: if it gives no range, or not at that size
        """
        self.device = torch.device(device)
        size = checkpoint.provenance.get('config', {}).get('size_hw')
        self._graphs = make_graphs(build(checkpoint).to(self.device),
                                   Options(size_hw=tuple(size) if size else None))
        self.metric = self._graphs.kind == 'metric'
        self.size_hw = self._graphs.size_hw
        self.uses_camera_height = self._graphs.uses_camera_height
        self.range_masks_m = self._graphs.range_masks_m

    @torch.inference_mode()
    def outputs(self, image: NDArray[np.uint8], camera_height_m: float = 0.0
                ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """
        Return the predicted range (h, w) [m] and P(range <= T) (K, h, w) of every range mask.

        :param image: (h, w, 3) uint8 RGB at `size_hw`
        :param camera_height_m: above the floor; 0 = unknown
        """
        feed = {'image': torch.from_numpy(np.ascontiguousarray(image[..., ::-1]))}
        feed['camera_height_m'] = torch.tensor([camera_height_m], dtype=torch.float32)
        found = self._run(self._graphs.main, feed)
        for threshold in sorted(self._graphs.masks):
            mask = self._run(self._graphs.masks[threshold], found)[MASK_OUTPUT]
            found.setdefault(MASK_OUTPUT, []).append(mask[0])
        mask = found.get(MASK_OUTPUT)
        mask = torch.stack(mask) if isinstance(mask, list) else mask
        return found['range_m'].cpu().numpy(), None if mask is None else mask.cpu().numpy()

    def _run(self, graph: Graph, feed: dict) -> dict:
        results = graph.module.eval()(*(feed[name].to(self.device) for name in graph.inputs))
        return dict(zip(graph.outputs, results if isinstance(results, tuple) else (results,)))

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Return an RGB panorama of any size at the network's.

        :raises LabelError: if it is not twice as wide as high
        """
        try:
            return resize_erp(image, self.size_hw, self._graphs.resize)
        except ValueError as error:
            raise LabelError(str(error)) from error

    def agreed(self, image: NDArray[np.uint8], camera_height_m: float, disagreement: float
               ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """
        Return the mean of what is said of a picture, its mirror image and two other exposures.

        :param disagreement: standard deviation of log range from which a pixel becomes NaN
        :return: as `outputs`
        """
        said, masks = [], []
        for view, mirrored in other_views(image):
            range_m, mask = self.outputs(view, camera_height_m)
            flip = (slice(None), slice(None, None, -1)) if mirrored else (slice(None),)
            said.append(np.log(range_m[flip]))
            if mask is not None:
                masks.append(mask[(slice(None), *flip)])
        mean = np.exp(np.mean(said, 0))
        mean = np.where(np.std(said, 0) <= disagreement, mean, np.nan).astype(np.float32)
        return mean, np.mean(masks, 0) if masks else None

    def label(self, image: NDArray[np.uint8], camera_height_m: float = 0.0,
              disagreement: float = 0.0) -> Label:
        """
        Label one panorama by the rule that the robot's estimator applies, largest range mask.

        :param image: (H, W, 3) uint8 RGB, 2:1, any size
        :param camera_height_m: above the floor, used by networks that take it; 0 = unknown
        :param disagreement: see `agreed`; 0 = one look at the picture as it is
        :raises LabelError: if it is no panorama or the network gives no finite number
        """
        image = self.resized(image)
        range_m, masks = (self.agreed(image, camera_height_m, disagreement) if disagreement
                          else self.outputs(image, camera_height_m))
        unknown = np.isnan(range_m) & bool(disagreement)
        range_m = np.where(unknown, np.float32(1.0), range_m)
        if not np.isfinite(range_m).all():
            raise LabelError('the labeler gave a range that is not finite')
        mask_m = max(self.range_masks_m, default=0.0)
        limit_m = min(mask_m or np.inf, self._graphs.max_range_m or np.inf)
        within = None
        if masks is not None:
            within = masks[self.range_masks_m.index(mask_m)]
        published = apply_rule(range_m, within, mask_m, limit_m, RULE)[0]
        return Label(image, np.where(unknown, np.float32(np.nan), published))


def other_views(image: NDArray[np.uint8]) -> list[tuple[NDArray[np.uint8], bool]]:
    """Return a picture, its mirror image, a darker and a brighter one; which are mirrored."""
    levels = np.arange(256) / 255
    darker, brighter = ((255 * levels ** gamma).astype(np.uint8) for gamma in (1.5, 0.67))
    return [(image, False), (image[:, ::-1], True), (darker[image], False),
            (brighter[image[:, ::-1]], True)]

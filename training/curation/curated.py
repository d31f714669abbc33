# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Perspective views as samples: placed at random, colours completed, range where it was seen."""

from __future__ import annotations

import numpy as np

from training.curation.outpaint import Outpainter
from training.data.files import Views
from training.data.placement import place, random_centre
from training.data.sample import Sample


class Curated:
    """
    Random access to the panoramas of a set of views; a `checks.Samples`.

    Item i shows view i mod n; the direction it looks in and the fill depend on (seed, i) alone.
    """

    def __init__(self, views: Views, fill: Outpainter, height: int, seed: int = 0):
        """Remember the views; :param height: rows of the panoramas."""
        self.views, self._fill, self._height, self._seed = views, fill, height, seed
        self.pairs = views.pairs

    def __len__(self) -> int:
        """Return the number of views; higher items show them again, looking elsewhere."""
        return len(self.views)

    def __getitem__(self, index: int) -> Sample:
        """:raises DaRosError: if a file of the view is missing or corrupt."""
        view = self.views[index % len(self.views)]
        rng = np.random.default_rng([self._seed, index])
        azimuth, elevation = random_centre(rng)
        placed = place(view, azimuth, elevation, self._height)
        image = self._fill(placed.image, placed.seen, rng)
        return Sample(image, placed.range_m, np.isfinite(placed.range_m), view.source, meta={
            'seen': round(float(placed.seen.mean()), 4),
            'centre_deg': [round(float(np.degrees(a)), 3) for a in (azimuth, elevation)]})

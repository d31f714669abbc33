# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The runtimes of one bundle in their declared order: one in use, proven, the others behind it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from da_ros import gate
from da_ros.backends.base import (
    Arrays,
    Backend,
    BackendAbsent,
    BackendError,
    EngineMissing,
    feeds_for,
    FrameError,
    VariantAbsent,
)
from da_ros.backends.order import BACKENDS, open_backend, variants_of
from da_ros.bundle import Bundle, BundleError, check_files

MOST_BAD_FRAMES = 3               # in a row; then the runtime must pass the gate again

Attempt = tuple[str, str]         # name and variant of a runtime


class BackendChain:
    """
    A bundle opened in the first runtime that passes the bundle's self-check.

    Not thread-safe, except `cancel`. Several cameras may take turns in it.
    """

    def __init__(self, bundle: Bundle, backend: str = 'auto', threads: int = 0,
                 given_up: Mapping[Attempt, str] | None = None):
        """
        Prove a runtime against the bundle's stored outputs; see `RangeEstimator`.

        :raises EngineMissing: the first runtime that may work needs engines to be built
        :raises BackendError: no runtime passes; names each with its reason
        """
        self.bundle = bundle
        self.refused: list[str] = []      # why runtimes earlier in the order were not taken
        self.absent: dict[str, str] = {}  # and those that this machine does not have
        self._threads = threads
        self._attempts = [(name, variant) for name in
                          (BACKENDS if backend == 'auto' else [backend])
                          for variant in variants_of(name, bundle)]
        self._given_up = given_up or {}
        self._bad_frames, self._ask_gate_at = 0, MOST_BAD_FRAMES
        self._cancelled = False
        self._backend: Backend | None = None
        self._backend, self.report = self._open_next()

    def _open_next(self) -> tuple[Backend, gate.GateReport]:
        while self._attempts:
            # To load a runtime takes seconds, and who has cancelled waits for this thread.
            if self._cancelled:
                raise BackendError('cancelled')
            attempt = self._attempts.pop(0)
            try:
                return self._open(attempt)
            except VariantAbsent as error:
                self.absent[' '.join(attempt)] = str(error)
            except BackendAbsent as error:
                self.absent[attempt[0]] = str(error)
                self._attempts = [other for other in self._attempts if other[0] != attempt[0]]
            except (BackendError, BundleError) as error:
                # At the start a missing engine is worth a wait, and a bundle that proves nothing
                # is the user's to mend; while driving, the next runtime is the better answer.
                if self._backend is None and isinstance(error, (EngineMissing, BundleError)):
                    raise
                self.refused.append(str(error))
        reasons = '; '.join([*self.refused, *self.absent.values()])
        raise BackendError(f'no inference runtime works: {reasons}')

    def _open(self, attempt: Attempt) -> tuple[Backend, gate.GateReport]:
        if attempt in self._given_up:
            raise BackendError(self._given_up[attempt])
        name, variant = attempt
        backend = open_backend(name, self.bundle, variant, self._threads)
        try:
            return backend, gate.prove(backend, self.bundle)
        except (BackendError, BundleError):
            backend.close()
            raise

    def fall_back(self, reason: str = '') -> None:
        """
        Replace a runtime that failed by the next one of the declared order.

        Engines that are not built yet are passed over: a robot that moves cannot wait.

        :param reason: how it failed, kept in `refused`
        :raises BackendError: if none is left, or files of the bundle have changed; the failed
            one stays in place
        """
        self._bad_frames, self._ask_gate_at = 0, MOST_BAD_FRAMES
        failed = self._backend
        try:        # the manifest in memory is no word on files that were replaced meanwhile
            check_files(self.bundle)
        except BundleError as error:
            raise BackendError(f'the bundle has changed since it was loaded ({error}); '
                               'configure the node anew') from error
        self._backend, self.report = self._open_next()
        self.refused += [reason] if reason else []
        if failed is not None:
            failed.close()

    @property
    def backend(self) -> Backend:
        """The runtime in use."""
        assert self._backend is not None
        return self._backend

    @property
    def name(self) -> str:
        """Name and arithmetic of the runtime in use."""
        return f'{self.backend.name} {self.backend.variant}'

    def run(self, net_image: NDArray[np.uint8], camera_height_m: float, mask_m: float) -> Arrays:
        """
        Return the finite outputs for one image; see `Backend.run`.

        :raises BackendError: if the runtime fails or is cancelled, also if its numbers are not
            finite three times in a row and it does not pass the self-check again
        :raises FrameError: if a range or probability is not finite
        """
        outputs = self.backend.run(feeds_for(self.bundle, net_image, camera_height_m), mask_m)
        probability = None if mask_m == 0 else self._probability(outputs, mask_m)
        self._check_finite(outputs['range_m'], probability)
        found = {'range_m': outputs['range_m']}
        return found if probability is None else found | {'probability': probability}

    def cancel(self) -> None:
        """Make a run or a fall-back in another thread fail soon; for shutdown only."""
        self._cancelled = True
        if self._backend is not None:
            self._backend.cancel()

    def close(self) -> None:
        """Free what the runtime holds; no run afterwards."""
        if self._backend is not None:
            self._backend.close()

    def _probability(self, outputs: Arrays, mask_m: float) -> NDArray[np.float32] | None:
        probability = outputs.get('range_mask_probability')
        if probability is None:
            return None
        shared = not self.bundle.own.range_masks
        return probability[self.bundle.range_masks_m.index(mask_m) if shared else 0]

    def _check_finite(self, range_m: NDArray[np.float32],
                      probability: NDArray[np.float32] | None) -> None:
        what = ('range' if not np.isfinite(range_m).all() else 'mask probability'
                if probability is not None and not np.isfinite(probability).all() else '')
        if not what:
            self._bad_frames, self._ask_gate_at = 0, MOST_BAD_FRAMES
            return
        self._bad_frames += 1
        gave = f'{self.name} gave a non-finite {what}'
        # A covered lens is no reason to give up a fast runtime for good, so the stored panoramas
        # say which of the two is at fault: on the 3rd odd frame in a row, the 6th, the 12th ...
        if self._bad_frames == self._ask_gate_at:
            self._ask_gate_at *= 2
            try:
                gate.check(self.backend, self.bundle)
            except BackendError as error:
                raise BackendError(f'{gave} in {self._bad_frames} frames in a row, and {error}'
                                   ) from error
        raise FrameError(f'{gave}; frame refused')

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag is the truth: never one that a network has written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from da_ros.bags.bag import BagReader
from da_ros.bags.storage import BagError
from da_ros.bags.topics import own_topics, possible_truth, SENSORS
from da_ros.bags.transforms import TransformError
from training.scoring.bags.evaluation import BagEvaluation

FRAMES = 5                   # of a rehearsal
ITSELF_M = 0.001             # no sensor repeats a prediction to a millimetre


def choose_truth(bag: BagReader, image_topic: str,
                 against: Callable[[str], tuple[BagEvaluation, list[str]]]
                 ) -> tuple[str, list[str]]:
    """
    Return the only topic that can be the truth, '' if there is none, and what to say about others.

    A network compared with its own output would look perfect, so a topic is passed over that bears
    the name of an output of the node, or that repeats the prediction.

    :param against: makes an evaluation against a topic and tells the topics that it reads
    :raises BagError: if several are left; names them
    """
    own = sorted(topic for topic in own_topics(bag.kinds) if bag.kinds[topic] in SENSORS)
    notes = [f'Outputs of da_ros by their names, not taken for truth: {", ".join(own)} (if one is '
             "a sensor's, name it by --truth)."] if own else []
    left = []
    for topic in possible_truth(bag, image_topic):
        reason = _unfit(bag, image_topic, *against(topic))
        if reason:
            notes.append(f'{topic} is not taken for truth: {reason}.')
        else:
            left.append(topic)
    if len(left) > 1:
        listed = ', '.join(f'{name} ({bag.kinds[name]}, {bag.counts[name]})' for name in left)
        raise BagError(f'several topics could be the truth: {listed}; name one by --truth, or '
                       'give --truth none')
    return (left[0] if left else ''), notes


def _unfit(bag: BagReader, image_topic: str, evaluation: BagEvaluation,
           topics: list[str]) -> str:
    """Return '' or why a topic cannot be the truth, from the first frames of the bag."""
    try:
        evaluation.run(bag, image_topic, topics, most=FRAMES)
    except TransformError:
        return ''            # a sensor whose link is missing: the evaluation says which
    assert evaluation.truth is not None
    if evaluation.unusable and not evaluation.truth.last_ns:
        return next(iter(evaluation.unusable))
    fit = evaluation.tables.column('fit_m')
    fit = fit[np.isfinite(fit)]
    return 'it repeats the prediction' if fit.size and np.median(fit) < ITSELF_M else ''

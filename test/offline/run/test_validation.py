# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

from training_setting import room_sample  # noqa: E402

from training.data.obstacles import floor_below  # noqa: E402
from training.data.shards import ShardSet, write_shard  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.config import TrainError  # noqa: E402
from training.run.forward import Forward  # noqa: E402
from training.run.validation import evaluate, predict, validation_sets  # noqa: E402
from training.scoring.obstacles import obstacle_metrics, sector_table  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')


@torch.no_grad()
def test_obstacles_are_scored_with_the_height_told(tmp_path):
    rng = np.random.default_rng(0)
    samples = [room_sample(rng) for _ in range(3)]
    for index, sample in enumerate(samples):        # a wall, in one image too far away
        sample.range_m[:] = np.minimum(sample.range_m, 1.0 + index)
        sample.valid[:] = True
    write_shard(tmp_path / '00000.tar', samples, {})
    data = ShardSet([tmp_path])
    torch.manual_seed(0)
    forward = Forward(build_network('pano_tiny', TINY)).eval()
    scores = evaluate(forward, data, 3, (32, 64), torch.device('cpu')).scores
    tables = [sector_table(predict(forward, sample, torch.device('cpu'))[1], sample.range_m,
                           floor_below(sample.range_m, sample.camera_height_m))
              for sample in map(data.__getitem__, range(3))]
    wanted = obstacle_metrics(np.concatenate(tables), 3.0)
    assert wanted['obstacles'] > 10
    assert scores['missed'] == pytest.approx(wanted['miss_rate'], abs=1e-4)
    assert scores['false_alarms'] == pytest.approx(wanted['false_alarm_rate'], abs=1e-4)


def test_a_name_that_two_sets_have_is_refused():
    with pytest.raises(TrainError, match="--val 'mixed' is given 2 times; give each set a name"):
        validation_sets(['mixed=a', 'other=b', 'mixed=c'])

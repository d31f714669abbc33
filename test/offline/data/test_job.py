# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import pytest

from training.data.job import check_job, JobError, write_job

ASKED = {'config': {'batch': 8, 'loss': {'normal': 0}}, 'data': ['a', 'b'], 'steps': 5}


def test_the_same_job_goes_on_and_another_is_refused_by_what_differs(tmp_path):
    write_job(tmp_path / 'out', ASKED)
    check_job(tmp_path / 'out', ASKED)
    other = {'config': {'batch': 8, 'loss': {}}, 'data': ['a'], 'steps': 5}
    with pytest.raises(JobError, match=r"out holds the work of another job: config\.loss "
                       r"\{'normal': 0\} \(now \{\}\), data \['a', 'b'\] \(now \['a'\]\); give "
                       'another folder or delete this one'):
        check_job(tmp_path / 'out', other)
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['job.json']


def test_what_an_earlier_version_did_not_record_counts_as_the_same(tmp_path):
    check_job(tmp_path, ASKED)
    write_job(tmp_path, {'config': {'batch': 8}, 'steps': 5})
    check_job(tmp_path, ASKED)
    with pytest.raises(JobError, match=r'config\.batch 8 \(now 9\); give'):
        check_job(tmp_path, {**ASKED, 'config': {'batch': 9}})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(JobError, match=r'file/out/job\.json cannot be written: Not a directory'):
        write_job(tmp_path / 'file/out', ASKED)


@pytest.mark.parametrize('text', ['{', '[]'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / 'job.json').write_text(text)
    with pytest.raises(JobError, match=r'job\.json cannot be read: .*; delete it if'):
        check_job(tmp_path, ASKED)

# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Panoramas without range: from videos, filtered, sorted, generated."""

import csv

import cv2
import numpy as np
import pytest

from da_ros.sphere import erp_rays, rotation_from_rpy
from training.curate import main
from training.curation.frames import DamagedVideoError, extract
from training.curation.sorting import DEFAULT, features, fit
from training.curation.upright import find_vertical
from training.simulator.box_room import furnished_room, panorama


def room_image(roll=0.0, pitch=0.0, height=512):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_from_rpy(roll, pitch, 0.0), (2.0, 0.4, 1.1)
    return panorama(furnished_room(), pose, height, 2 * height)[0]


def write_video(path, frames, size=(128, 64), codec='mp4v'):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, size)
    for frame in frames:
        writer.write(frame)
    writer.release()


def scene(number, blur=0.0):
    rng = np.random.default_rng(number)
    frame = cv2.resize(rng.integers(0, 255, (16, 32, 3), dtype=np.uint8), (128, 64),
                       interpolation=cv2.INTER_NEAREST)
    return cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame


def test_the_sharpest_new_frame_of_every_second_is_kept(tmp_path):
    frames = [scene(0, 3.0)] * 5 + [scene(0)] + [scene(0, 3.0)] * 4     # sharp at 5
    frames += [scene(0)] * 10                                          # nothing new
    frames += [scene(1)] * 10
    write_video(tmp_path / 'walk.mp4', frames)
    assert main(['frames', str(tmp_path / 'walk.mp4'), '--out', str(tmp_path / 'out'),
                 '--min-change', '12']) == 0
    names = [p.name for p in sorted((tmp_path / 'out').rglob('*.jpg'))]
    assert names[0] == 'walk_000005.jpg' and len(names) == 2 and names[1] >= 'walk_000020'


def test_video_that_is_no_panorama_is_named(tmp_path, capsys):
    write_video(tmp_path / 'flat.mp4', [np.zeros((64, 96, 3), np.uint8)] * 3, (96, 64))
    (tmp_path / 'not.mp4').write_bytes(b'no video' * 100)
    for name, message in (('flat', 'flat.mp4 is 96 x 64 px'), ('not', 'not.mp4 is no video')):
        assert main(['frames', str(tmp_path / f'{name}.mp4'), '--out', str(tmp_path / 'o')]) == 1
        assert message in capsys.readouterr().err
    assert not list((tmp_path / 'o').iterdir())
    write_video(tmp_path / 'good.mp4', [scene(0)] * 3)
    videos = [str(tmp_path / f'{n}.mp4') for n in ('flat', 'good')]
    assert main(['frames', *videos, '--out', str(tmp_path / 'o')]) == 0
    assert 'video: 1 skipped' in capsys.readouterr().out


def test_videos_of_one_name_are_not_lost(tmp_path, capsys):
    videos = [tmp_path / folder / 'clip.mp4' for folder in 'ab']
    for number, video in enumerate(videos):
        video.parent.mkdir()
        write_video(video, [scene(number)] * (3 + 20 * number))
    out = ['--out', str(tmp_path / 'o')]
    assert main(['frames', *map(str, videos), *out]) == 1
    assert (f'{videos[0]} and {videos[1]} would both become {tmp_path}/o/clip; give them '
            'different --out') in capsys.readouterr().err
    assert not (tmp_path / 'o').exists()
    assert main(['frames', str(videos[0]), *out]) == 0
    assert main(['frames', str(videos[0]), *out]) == 0
    assert 'clip.mp4: 0 frames' in capsys.readouterr().out
    assert main(['frames', str(videos[1]), *out]) == 1
    said = capsys.readouterr().err
    assert 'o/clip holds the work of another job: video clip.mp4 of ' in said
    assert main(['frames', str(videos[0]), *out, '--every', '2']) == 1
    assert 'every_s 1.0 (now 2.0); give another folder' in capsys.readouterr().err
    (tmp_path / 'o/clip/job.json').unlink()         # as it was before job.json
    assert main(['frames', str(videos[0]), *out]) == 0
    assert main(['frames', str(tmp_path / 'no.mp4'), *out]) == 1
    assert f'no file {tmp_path}/no.mp4' in capsys.readouterr().err


def test_a_video_without_a_frame_is_named(tmp_path, capsys):
    write_video(tmp_path / 'cut.mp4', [scene(0)] * 3)
    content = (tmp_path / 'cut.mp4').read_bytes()
    start = content.index(b'mdat')
    size = int.from_bytes(content[start - 4:start], 'big') - 8
    (tmp_path / 'cut.mp4').write_bytes(
        content[:start + 4] + bytes(size) + content[start + 4 + size:])
    assert main(['frames', str(tmp_path / 'cut.mp4'), '--out', str(tmp_path / 'o')]) == 1
    assert 'cut.mp4 holds no frame that can be decoded' in capsys.readouterr().err
    assert not list((tmp_path / 'o').iterdir())


def test_a_video_that_is_cut_off_is_named_and_its_good_frames_are_kept(tmp_path, capsys):
    write_video(tmp_path / 'good.mp4', [scene(0)] * 3)
    write_video(tmp_path / 'cut.avi', [scene(i // 10) for i in range(60)], codec='MJPG')
    content = (tmp_path / 'cut.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(content[:len(content) // 2])
    videos = [str(tmp_path / name) for name in ('good.mp4', 'cut.avi')]
    for _ in range(2):                  # also by a run that finds everything done
        assert main(['frames', *videos, '--out', str(tmp_path / 'o')]) == 0
        told = capsys.readouterr().out
        assert f'{videos[1]}: 30 of 60 frames decoded, the rest is damaged or cut off' in told
        assert f'the 3 good frames are in {tmp_path}/o/cut' in told and told.count(' of 60') == 1
    assert len(list((tmp_path / 'o/cut').glob('*.jpg'))) == 3


@pytest.mark.parametrize('announced, whole', [(0, True), (-1, True), (23, True), (30, False)])
def test_a_count_of_frames_that_is_unknown_or_little_too_high_is_no_damage(
        tmp_path, monkeypatch, announced, whole):
    def told(self, what):
        return announced if what == cv2.CAP_PROP_FRAME_COUNT else 20.0
    write_video(tmp_path / 'a.mp4', [scene(0)] * 20)
    monkeypatch.setattr(cv2.VideoCapture, 'get', told)
    if whole:
        assert extract(tmp_path / 'a.mp4', tmp_path) == 1
    else:
        with pytest.raises(DamagedVideoError, match=r'a\.mp4: 20 of 30 frames decoded'):
            extract(tmp_path / 'a.mp4', tmp_path)


@pytest.mark.parametrize('roll, pitch', [(0.0, 0.0), (0.1, -0.05), (-0.2, 0.3)])
def test_the_vertical_is_where_the_lines_meet(roll, pitch):
    found = find_vertical(room_image(roll, pitch)[..., ::-1])
    up = rotation_from_rpy(roll, pitch, 0.0).T @ [0, 0, 1]
    assert np.degrees(np.arccos(min(1.0, found.up @ up))) < 1.0 and found.sure


def test_without_lines_the_vertical_is_not_sure():
    rays = erp_rays(128, 256)
    assert not find_vertical((127 + 100 * rays).astype(np.uint8)).sure
    noise = np.random.default_rng(0).integers(0, 255, (512, 1024, 3), dtype=np.uint8)
    assert not find_vertical(cv2.GaussianBlur(noise, (0, 0), 3)).sure


def test_tilted_panoramas_are_filtered_out(tmp_path, capsys):
    folder = tmp_path / 'in'
    (folder / 'a').mkdir(parents=True)
    cv2.imwrite(str(folder / 'a/level.png'), room_image())
    cv2.imwrite(str(folder / 'tilted.png'), room_image(0.25, 0.1))
    cv2.imwrite(str(folder / 'plain.png'), np.full((64, 128, 3), 90, np.uint8))
    cv2.imwrite(str(folder / 'flat.png'), np.zeros((64, 96, 3), np.uint8))
    (folder / 'broken.jpg').write_bytes(b'no picture')
    assert main(['filter', str(folder), '--out', str(tmp_path / 'out')]) == 0
    told = capsys.readouterr().out
    assert '1 upright, 1 tilted, 1 unsure' in told and f'{folder}: 2 skipped' in told
    assert 'flat.png is 96 x 64 px, not 2:1' in told and 'broken.jpg is not a readable' in told
    kept = {str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('*.png')}
    assert kept == {'a/level.png', 'plain.png'}
    rows = {row['image']: row for row in csv.DictReader((tmp_path / 'out/upright.csv').open())}
    assert float(rows['tilted.png']['tilt_deg']) == pytest.approx(15.4, abs=1.0)
    assert main(['filter', str(folder), '--out', str(tmp_path / 'sure'), '--drop-unsure']) == 0
    assert not (tmp_path / 'sure/plain.png').exists()
    assert main(['filter', str(tmp_path / 'none'), '--out', str(tmp_path / 'x')]) == 1
    assert 'none holds no image' in capsys.readouterr().err


def sky_image():
    rays = erp_rays(64, 128)
    up = rays[..., 2:] > 0.05
    return np.where(up, (120, 170, 240), (110, 100, 80)).astype(np.uint8)


def beige_image():
    rays = erp_rays(64, 128)
    floor = rays[..., 2:] < -0.3
    return np.where(floor, (120, 95, 70), (205, 195, 180)).astype(np.uint8)


def test_blue_above_is_outdoors_and_a_room_is_not(tmp_path, capsys):
    assert DEFAULT(sky_image()) > 0.8 and DEFAULT(beige_image()) < 0.2
    folder = tmp_path / 'in'
    folder.mkdir()
    cv2.imwrite(str(folder / 'field.png'), sky_image()[..., ::-1])
    cv2.imwrite(str(folder / 'room.png'), beige_image()[..., ::-1])
    assert main(['sort', str(folder), '--out', str(tmp_path / 'out')]) == 0
    assert '1 indoor, 1 outdoor' in capsys.readouterr().out
    assert (tmp_path / 'out/outdoor/field.png').exists()
    assert (tmp_path / 'out/indoor/room.png').exists()


@pytest.mark.parametrize('copied', [False, True])
@pytest.mark.parametrize('command', ['filter', 'sort'])
def test_an_image_of_another_source_is_not_lost(tmp_path, capsys, monkeypatch, command, copied):
    if copied:
        def other_file_system(source, target):
            raise OSError('cross-device link')
        monkeypatch.setattr('os.link', other_file_system)
    for folder, image in (('a', sky_image()), ('b', sky_image() // 2)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'field.png'), image[..., ::-1])
    out = ['--out', str(tmp_path / 'out')]
    for _ in range(2):
        assert main([command, str(tmp_path / 'a'), *out]) == 0
    assert main([command, str(tmp_path / 'b'), *out]) == 1
    assert (f'field.png is another image than {tmp_path}/b/field.png; give another --out'
            in capsys.readouterr().err)


@pytest.mark.parametrize('command', ['filter', 'sort'])
def test_relative_links_to_images_are_followed(tmp_path, command):
    for folder in ('photos', 'in'):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / 'photos/field.png'), sky_image()[..., ::-1])
    (tmp_path / 'in/field.png').symlink_to('../photos/field.png')
    for _ in range(2):
        assert main([command, str(tmp_path / 'in'), '--out', str(tmp_path / 'deep/er/out')]) == 0
    kept, = (tmp_path / 'deep').rglob('*.png')
    assert kept.samefile(tmp_path / 'photos/field.png') and not kept.is_symlink()


@pytest.mark.parametrize('command, table', [('filter', 'upright.csv'), ('sort', 'places.csv')])
def test_the_table_of_another_source_stays(tmp_path, command, table):
    for folder, name in (('a', 'field'), ('b', 'meadow')):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / f'{name}.png'), sky_image()[..., ::-1])
    for folder in 'aba':
        assert main([command, str(tmp_path / folder), '--out', str(tmp_path / 'out')]) == 0
    rows = list(csv.DictReader((tmp_path / 'out' / table).open()))
    assert [row['image'] for row in rows] == ['field.png', 'meadow.png']


@pytest.mark.parametrize('command, table, pictures', [
    ('sort', 'places.csv', (sky_image(), beige_image())),
    ('filter', 'upright.csv', (room_image(), room_image(0.25, 0.1))),
    ('filter', 'upright.csv', (room_image(0.25, 0.1), room_image()))])
def test_the_row_of_another_image_of_one_name_is_not_lost(
        tmp_path, capsys, command, table, pictures):
    for folder, picture in zip('ab', pictures, strict=True):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'x.png'), picture[..., ::-1])
    cv2.imwrite(str(tmp_path / 'b/a.png'), sky_image())
    out = tmp_path / 'out'
    for _ in range(2):
        assert main([command, str(tmp_path / 'a'), '--out', str(out)]) == 0
    rows, kept = (out / table).read_text(), sorted(out.rglob('*.png'))
    assert main([command, str(tmp_path / 'b'), '--out', str(out)]) == 1
    assert (f'{table}: x.png is another image than {tmp_path}/b/x.png; give another --out'
            in capsys.readouterr().err)
    assert (out / table).read_text() == rows and sorted(out.rglob('*.png')) == kept


def test_a_table_without_hashes_is_taken_as_it_is(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/places.csv').write_text('image,place,p_outdoor\nfield.png,outdoor,0.9\n'
                                             'old.png,indoor,0.1\n')
    cv2.imwrite(str(tmp_path / 'in/field.png'), sky_image()[..., ::-1])
    assert main(['sort', str(tmp_path / 'in'), '--out', str(tmp_path / 'out')]) == 0
    rows = list(csv.DictReader((tmp_path / 'out/places.csv').open()))
    assert [row['image'] for row in rows] == ['field.png', 'old.png']
    assert len(rows[0]['sha256']) == 16 and rows[1]['sha256'] is None


def dusk(image):
    """A classifier of one's own."""
    return float(image.mean() < 130)


def test_a_classifier_of_ones_own_sorts(tmp_path, capsys):
    folder = tmp_path / 'in'
    folder.mkdir()
    cv2.imwrite(str(folder / 'field.png'), sky_image() // 2)
    cv2.imwrite(str(folder / 'room.png'), beige_image())
    arguments = ['sort', str(folder), '--out', str(tmp_path / 'out'), '--classifier']
    assert main([*arguments, f'{__name__}:dusk']) == 0
    assert (tmp_path / 'out/outdoor/field.png').exists()
    assert main([*arguments, 'no_such_module:x']) == 1
    assert "no classifier 'no_such_module:x'" in capsys.readouterr().err


def test_images_sorted_by_another_classifier_are_not_mixed_in(tmp_path, capsys):
    folder, out = tmp_path / 'in', tmp_path / 'out'
    folder.mkdir()
    arguments = ['sort', str(folder), '--out', str(out)]
    assert main(arguments) == 1
    assert 'in holds no image' in capsys.readouterr().err and not out.exists()
    cv2.imwrite(str(folder / 'field.png'), sky_image()[..., ::-1])
    for _ in range(2):
        assert main(arguments) == 0
    assert main([*arguments, '--classifier', f'{__name__}:dusk']) == 1
    assert (f'out holds the work of another job: classifier built in (now {__name__}:dusk); give '
            'another folder') in capsys.readouterr().err
    assert main(['filter', str(folder), '--out', str(out)]) == 1
    assert 'another job: command sort (now filter)' in capsys.readouterr().err
    assert [p.parent.name for p in out.rglob('*.png')] == ['outdoor']


@pytest.mark.parametrize('change, differs', [
    (['--max-tilt', '3'], 'max_tilt_deg 6.0 (now 3.0)'),
    (['--drop-unsure'], 'drop_unsure False (now True)')])
def test_images_kept_by_other_limits_are_not_mixed_in(tmp_path, capsys, change, differs):
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in/plain.png'), np.full((64, 128, 3), 90, np.uint8))
    arguments = ['filter', str(tmp_path / 'in'), '--out', str(tmp_path / 'out')]
    for _ in range(2):
        assert main(arguments) == 0
    assert main([*arguments, *change]) == 1
    assert f'out holds the work of another job: {differs}; give' in capsys.readouterr().err
    (tmp_path / 'out/job.json').unlink()                # as it was before job.json
    assert main([*arguments, *change]) == 0


def test_fitting_separates_what_can_be_separated():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=200) < 0.3
    points = rng.normal(0, 1, (200, 3)) + 3 * truth[:, None] * (1, 0, -1)
    classifier = fit(points, truth)
    logits = (points - classifier.mean) / classifier.scale @ classifier.weights + classifier.bias
    assert ((logits > 0) == truth).mean() > 0.95
    assert features(sky_image()).shape == (3,)


def test_a_generator_is_a_command_and_is_resumed(tmp_path, capsys):
    """The generator of this test copies a picture named after the prompt."""
    for name, width in (('a room', 128), ('bad', 96), ('a street', 128)):
        cv2.imwrite(str(tmp_path / f'{name}_7.png'), np.zeros((64, width, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'{name}_8.png'), np.zeros((64, width, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'{name}_9.png'), np.full((64, width, 3), 9, np.uint8))
    prompts = tmp_path / 'prompts.txt'
    prompts.write_text('a room\nbad\n\na street\n')
    arguments = ['generate', '--prompts', str(prompts), '--out', str(tmp_path / 'out'), '--seed',
                 '7', '--generator', f"cp '{tmp_path}/{{prompt}}_{{seed}}.png' {{out}}"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert '2 new panoramas' in told and 'prompt 2: 96 x 64 px, not 2:1' in told
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        '000000.png', '000002.png', 'job.json', 'prompts.csv']
    assert (tmp_path / 'out/prompts.csv').read_text().splitlines()[3] == '000002.png,a street'
    assert cv2.imread(str(tmp_path / 'out/000002.png'))[0, 0, 0] == 9
    assert main(arguments) == 0 and '0 new panoramas' in capsys.readouterr().out
    prompts.write_text('a room\nbad\n\na house\n')
    assert main(arguments) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("000002.png is of the prompt 'a street', now 'a house'; give another "
                         '--out')
    prompts.write_text('a room\nbad\n\na street\n')
    arguments[arguments.index('7')] = '8'
    assert main(arguments) == 1 and 'seed 7 (now 8)' in capsys.readouterr().err


@pytest.mark.parametrize('generator, message', [
    ('', 'no panorama generator is configured; give --generator'),
    ("cp '{}' {out}", "--generator \"cp '{}' {out}\" cannot be filled in (Replacement index 0"),
    ('cp {name} {out}', "cannot be filled in ('name'); there are {prompt}, {seed} and {out}"),
    ("cp 'a {out}", 'cannot be filled in (No closing quotation)'),
    ('no_such_program {out}', "the generator 'no_such_program' cannot be run"),
    ('sh -c "echo no memory >&2; exit 3" {out}', 'ended with code 3: no memory'),
    ('true {out}', "left no image for prompt 1: 'a room'")])
def test_a_missing_or_failing_generator_is_one_line(tmp_path, capsys, generator, message):
    (tmp_path / 'prompts.txt').write_text('a room\n')
    assert main(['generate', '--prompts', str(tmp_path / 'prompts.txt'), '--out',
                 str(tmp_path / 'out'), '--generator', generator]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('error: ') and message in last
    bound = bool(generator) and 'cannot be filled in' not in message
    assert (tmp_path / 'out').exists() == bound

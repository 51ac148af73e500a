"""`cliff annotate`: what it improves, what it leaves, and that it goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import miniatures
import numpy as np
import pytest

torch = pytest.importorskip('torch')

from cliff_ros import cli
from cliff_ros.body import load_body
from cliff_ros.cliff import load_model
from cliff_ros.datasets.cameras import Cameras
from cliff_ros.datasets.cliff_gt import CliffGT
from cliff_ros.datasets.coco import CocoKeypoints
from cliff_ros.errors import InputError
from cliff_ros.evaluation import metrics
from cliff_ros.synthetic import crops
from cliff_ros.training.annotation.annotator import Annotator, Settings
from cliff_ros.training.published.crop_sources import Rendered

PEOPLE = 16


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    images, labels = crops.generate(900_500, PEOPLE, negatives=0.0, everyday=True, whole=True, num_backgrounds=4)
    path = tmp_path_factory.mktemp('people') / 'crops.npz'
    np.savez(path, images=images, labels=labels)
    return Rendered([path], load_model('embedded').spec, load_body())


def silent(what: str, done: int, total: int) -> None:
    pass


def test_keypoints_make_bodies_better_and_a_stopped_annotation_goes_on(people, tmp_path) -> None:
    settings = Settings(epochs=6, batch=8)
    whole = Annotator('embedded', load_body(), people, tmp_path / 'whole', 'cpu')
    prior = whole.prior(silent)
    annotated = whole.annotate(settings, prior, silent)
    true = np.array([people.crop(i, np.random.default_rng(0), None)[1]['joints'] for i in range(PEOPLE)])
    before, after = (metrics.mpjpe(whole.points(e)[:, :24], true).mean() for e in (prior, annotated))
    assert after < 0.97 * before
    assert np.mean(whole.reprojection(annotated)) < 0.85 * np.mean(whole.reprojection(prior))

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith('teaching') and done == 7:
            raise KeyboardInterrupt

    halves = Annotator('embedded', load_body(), people, tmp_path / 'halves', 'cpu')
    with pytest.raises(KeyboardInterrupt):
        halves.annotate(settings, halves.prior(silent), stop)
    steps = []
    again = Annotator('embedded', load_body(), people, tmp_path / 'halves', 'cpu')
    found = again.annotate(settings, again.prior(silent), lambda what, done, total: steps.append((what, done)))
    assert steps[0] == ('teaching (annotated)', 8)
    for name in ('rotations', 'betas', 'camera'):
        np.testing.assert_allclose(getattr(found, name), getattr(annotated, name), atol=1e-5)
    with pytest.raises(InputError, match='other options'):
        again.annotate(replace(settings, rate=1e-3, prior=True), prior, silent)
    with pytest.raises(InputError, match='other people'):
        Annotator('embedded', load_body(), people, tmp_path / 'halves', 'cpu', about='others')


def test_photographs_become_files_in_both_layouts(tmp_path, capsys) -> None:
    shots = miniatures.shots(2, people=2)
    labels = miniatures.coco(tmp_path / 'coco', shots)
    focal = tmp_path / 'cameras.yaml'
    focal.write_text(
        ''.join(
            f'"{100 + i:012d}": [{", ".join(map(str, (s.K[0, 0], s.K[1, 1], s.K[0, 2], s.K[1, 2])))}]\n'
            for i, s in enumerate(shots)
        )
    )
    words = ['annotate', '--labels', str(labels), '--images', str(tmp_path / 'coco/val2017'), '--fewest', '4']
    words += ['--work', str(tmp_path / 'work'), '--cameras', str(focal), '--epochs', '2', '--threads', '1']
    page = tmp_path / 'page.html'
    assert cli.main([*words, '--report', str(tmp_path / 'report.json'), '--page', str(page)]) == 0
    assert 'By keypoint' in page.read_text() and page.read_text().count('data:image/jpeg') >= 3
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['reprojection']['annotated'] < report['reprojection']['prior'] < 0.2
    assert [one['reprojection'] for one in report['worst']] == sorted(
        (one['reprojection'] for one in report['worst']), reverse=True
    )
    assert (tmp_path / 'work' / f'{labels.stem}_worst.png').stat().st_size > 10_000
    with np.load(tmp_path / 'work' / f'{labels.stem}.npz') as file:
        ours = dict(file)
    count = report['people']
    assert count >= 3 and ours['rotations'].shape == (count, 24, 3, 3)
    # What comes out of the authors' layout stands where ours says, and projects to where it says.
    given = CliffGT(tmp_path / 'work' / f'{labels.stem}_cliffGT.npz', tmp_path / 'coco/val2017', 0, Cameras.read(focal))
    coco = CocoKeypoints(labels, tmp_path / 'coco/val2017', 0, Cameras.read(focal), 4)
    body = load_body()
    for i in range(count):
        sample = given[i]
        np.testing.assert_allclose(sample.rotations, ours['rotations'][i], atol=1e-5)
        joints = body.joints(sample.betas[None], sample.rotations[None], sample.translation[None])[0]
        np.testing.assert_allclose(joints, ours['joints'][i], atol=1e-4)
        pixels = joints[:, :2] / joints[:, 2:] * ours['K'][i][[0, 1], [0, 1]] + ours['K'][i][:2, 2]
        np.testing.assert_allclose(pixels, ours['joints2d'][i], atol=0.02)
        marked = (coco[i].confidence > 0) & (np.arange(29) != 1) & (np.arange(29) != 2)
        np.testing.assert_allclose(sample.keypoints[marked], coco[i].keypoints[marked], atol=1e-6)
        height = max(sample.box[3] - sample.box[1], (sample.box[2] - sample.box[0]) * 4 / 3)
        sides = coco[i].box[2:] - coco[i].box[:2]
        assert height == pytest.approx(max(sides[1], sides[0] * 4 / 3), rel=1e-6)
        off = np.linalg.norm((pixels - coco[i].keypoints[:24]) / (1.1 * height), axis=1)[marked[:24]]
        assert off.mean() < 0.25
    assert np.load(tmp_path / 'work' / f'{labels.stem}_cliffGT.npz')['S'].shape == (count, 24, 4)
    capsys.readouterr()
    assert cli.main(words) == 0 and 'teaching' not in capsys.readouterr().err  # nothing is done twice


def test_the_annotator_is_measured_on_rendered_people(tmp_path, capsys) -> None:
    words = ['annotate', '--dataset', 'synthetic', '--seed', '3', '--people', '4', '--epochs', '2', '--batch', '4']
    report = tmp_path / 'report.json'
    assert cli.main([*words, '--threads', '1', '--work', str(tmp_path / 'work'), '--report', str(report)]) == 0
    found = json.loads(report.read_text())
    for key in ('mpjpe_mm', 'pa_mpjpe_mm', 'reprojection'):
        assert set(found[key]) == {'prior', 'annotated', 'without_prior'} and min(found[key].values()) > 0
    assert found['reprojection']['annotated'] < found['reprojection']['prior']
    assert 'MPJPE' in capsys.readouterr().out


def test_what_is_missing_is_said(tmp_path, capsys) -> None:
    for words in (
        [],
        ['--dataset', 'synthetic', '--labels', 'a'],
        ['--labels', 'a'],
        ['--dataset', 'synthetic', '--epochs', '0'],
    ):
        assert cli.main(['annotate', '--work', str(tmp_path / 'work'), *words]) == 2
        assert 'cliff annotate: ' in capsys.readouterr().err

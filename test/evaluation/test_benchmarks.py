"""Published benchmarks: every layout read from a miniature of it, and `cliff evaluate` on each, against known truth."""

from __future__ import annotations

import json

import miniatures
import numpy as np
import pytest

from cliff_ros import cli
from cliff_ros.body import load_body
from cliff_ros.datasets.cameras import Cameras
from cliff_ros.errors import InputError, ModelError
from cliff_ros.evaluation import metrics
from cliff_ros.evaluation.benchmarks.published import PUBLISHED, beside
from cliff_ros.evaluation.benchmarks.registry import BENCHMARKS, open_labels
from cliff_ros.evaluation.benchmarks.truth import Truth, camera_of
from cliff_ros.evaluation.bodies import BodyFolder
from cliff_ros.evaluation.regressed import J14
from cliff_ros.people import Box, Frame
from cliff_ros.pipeline import Pipeline

# The miniature's own focal length; and boxes that do not jump between pictures that are all the same.
MORE = {'h36m-p1': ['--focal', '300'], 'emdb1': ['--boxes', 'joints']}


@pytest.fixture(scope='module')
def shots():
    return miniatures.shots(2, people=2)


@pytest.fixture(scope='module')
def roots(shots, tmp_path_factory):
    """Folder of each data set, and of the bodies."""
    root = tmp_path_factory.mktemp('benchmarks')
    miniatures.bodies(root / 'bodies')
    miniatures.threedpw(root / '3dpw', shots[:1] * 3)
    miniatures.emdb(root / 'emdb1', shots[:1] * 6)
    miniatures.human36m(root / 'h36m-p1', shots)
    miniatures.human36m(root / 'mosh', shots, mosh=True)
    miniatures.rich(root / 'rich', shots)
    miniatures.bedlam(root / 'bedlam', shots)
    miniatures.coco(root / 'coco', shots)
    return root


@pytest.fixture(scope='module')
def crowd(shots, roots):
    pytest.importorskip('pandas', reason='makes the table of the miniature')
    miniatures.agora(roots / 'agora', shots)
    return roots / 'agora'


def labels_of(name: str, roots):
    folder = {'h36m-p2': 'h36m-p1', 'mosh': 'mosh'}.get(name, name)
    return open_labels('h36m-p1' if name == 'mosh' else name, roots / folder)


def compared(truth: Truth, person, placed: bool) -> None:
    assert truth.placed == placed
    off = 0 if placed else person.joints[0] - truth.joints[0]
    np.testing.assert_allclose(truth.joints + off, person.joints, atol=2e-4)
    rigid = load_body().weights[:, 20:].max(1) < 1e-3  # but the hands, which SMPL-X's labels leave straight
    np.testing.assert_allclose((truth.vertices + off)[rigid], person.vertices[rigid], atol=2e-4)
    if truth.rotations is not None:
        np.testing.assert_allclose(truth.rotations[:22], person.rotations[:22], atol=1e-5)


def test_3dpw(roots, shots) -> None:
    labels = labels_of('3dpw', roots)
    assert len(labels) == 5  # two people in three frames, the second not seen in the last one
    people, bodies = shots[0].people, BodyFolder(roots / 'bodies')
    for i in range(5):
        truth = Truth.of(labels[i], bodies)
        compared(truth, people[i // 3], placed=True)
        camera = camera_of(labels[i], *miniatures.SIZE, 'truth')
        np.testing.assert_allclose(camera.K, shots[0].K)
        joints = camera.project(miniatures.keypoints(people[i // 3])[miniatures.COCO17])
        np.testing.assert_allclose(truth.box('joints', camera), [*joints.min(0), *joints.max(0)], atol=0.05)
        box = truth.box('keypoints', camera)
        seen = miniatures.pixels(shots[0], miniatures.keypoints(people[i // 3]))[:18]
        np.testing.assert_allclose(box, [*seen.min(0), *seen.max(0)], atol=1e-6)
    assert [labels[i].person for i in range(5)] == ['walk_00/0'] * 3 + ['walk_00/1'] * 2
    assert [labels[i].gender for i in (0, 3)] == ['male', 'female']


def test_emdb(roots, shots) -> None:
    labels = labels_of('emdb1', roots)
    assert [labels[i].frame for i in range(len(labels))] == [0, 2, 3, 4, 5]
    bodies, camera = BodyFolder(roots / 'bodies'), camera_of(labels[0], *miniatures.SIZE, 'truth')
    for i in range(len(labels)):
        compared(Truth.of(labels[i], bodies), shots[0].people[0], placed=True)
    np.testing.assert_allclose(Truth.of(labels[0], bodies).box('file', camera), shots[0].people[0].box)
    assert 'file' not in labels[4].boxes  # the file says that this one is invalid: the box around the joints
    box = Truth.of(labels[4], bodies).box('file', camera)
    np.testing.assert_array_equal(box, Truth.of(labels[4], bodies).box('joints', camera))
    with pytest.raises(InputError, match='belongs to EMDB 2'):
        open_labels('emdb2', roots / 'emdb1')


def test_human36m(roots, shots) -> None:
    first, second, mosh = (labels_of(name, roots) for name in ('h36m-p1', 'h36m-p2', 'mosh'))
    assert (len(first), len(second)) == (2, 1) and '60457274' in second[0].image.name
    for labels, index, shot in ((first, 0, 0), (first, 1, 1), (second, 0, 1)):
        sample, person = labels[index], shots[shot].people[0]
        fourteen = [8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, 12, 15]
        np.testing.assert_allclose(sample.joints14, person.joints[fourteen] - person.joints[0], atol=1e-6)
        sides = person.box[2:] - person.box[:2]
        np.testing.assert_allclose(sample.box[2:] - sample.box[:2], sides.max(), rtol=1e-6)
        assert Truth.of(sample, BodyFolder(roots / 'bodies')).joints is None
    assert first[0].K[0, 0] == pytest.approx(1145.05, abs=0.01) and first[1].K[0, 2] == pytest.approx(514.97, abs=0.01)
    compared(Truth.of(mosh[1], BodyFolder(roots / 'bodies')), shots[1].people[0], placed=False)
    with pytest.raises(InputError, match='h36m_valid_protocol1'):
        open_labels('h36m-p1', roots / 'rich')


def test_rich_and_bedlam(roots, shots) -> None:
    bodies = BodyFolder(roots / 'bodies')
    for name, placed in (('rich', False), ('bedlam', True)):
        labels = labels_of(name, roots)
        for i in range(2):
            assert labels[i].smplx_betas is not None and labels[i].gender == ('male', 'female')[i]
            compared(Truth.of(labels[i], bodies), shots[i].people[0], placed)
    np.testing.assert_allclose(labels[1].K, shots[1].K)
    with pytest.raises(InputError, match='no folder of images'):
        open_labels('bedlam', roots / 'h36m-p1')


def test_agora(roots, shots, crowd) -> None:
    labels = open_labels('agora', crowd)
    assert len(labels) == 4 and [labels[i].asked for i in range(4)] == [True, False] * 2
    for i in range(4):
        person, sample = shots[i // 2].people[i % 2], labels[i]
        compared(Truth.of(sample, BodyFolder(roots / 'bodies')), person, placed=True)
        assert sample.points2d.shape[0] > 24  # also the box around all of them counts
        want = (miniatures.pixels(shots[i // 2], person.joints) - [0, 30] + 0.5) * 4 - 0.5
        np.testing.assert_allclose(sample.points2d[:24], want, atol=1e-3)
        assert sample.K[0, 0] == pytest.approx(28 / 36 * 1280)  # the scene's lens


def test_coco(roots, shots) -> None:
    labels = labels_of('coco', roots)
    assert len(labels) == 4  # without the crowd
    for i in range(4):
        person, sample = shots[i // 2].people[i % 2], labels[i]
        np.testing.assert_allclose(sample.box, person.box, atol=1e-6)
        seen = np.flatnonzero(sample.confidence)
        assert len(seen) > 3 and set(seen) <= set(miniatures.COCO17)
        pixels = miniatures.pixels(shots[i // 2], miniatures.keypoints(person))
        np.testing.assert_allclose(sample.keypoints[seen], pixels[seen], atol=1e-6)


# ---- the command


def evaluate(roots, name: str, folder: str, tmp_path, *more: str) -> dict:
    report = tmp_path / 'report.json'
    body = str(roots / 'bodies')
    words = ['evaluate', '--dataset', name, '--root', str(roots / folder), '--body', body, '--report', str(report)]
    assert cli.main([*words, *more]) == 0
    return json.loads(report.read_text())


@pytest.mark.parametrize('name', ['emdb1', 'h36m-p1', 'rich', 'coco'])
def test_a_run_measures_the_network(name, roots, tmp_path, capsys) -> None:
    found = evaluate(roots, name, name, tmp_path, *MORE.get(name, ()))
    first = found['protocols'][BENCHMARKS[name].protocols[0]]
    assert found['complete'] and found['people'] > 1 and found['people_lost'] == 0
    if name == 'coco':
        assert 0 < first['error_box_percent'] < 15 and first['pck10_percent'] > 60
    else:
        assert 0 < first['pa_mpjpe_mm'] < first['mpjpe_mm'] < 350
    if name in PUBLISHED:
        off = found['beside']['difference']
        assert off and not found['beside']['same_network']
        for key, value in off.items():
            row = next(row for row in found['published'] if row['name'] == found['beside']['name'])
            assert value == pytest.approx(first[key] - row[key])
        assert 'difference' in capsys.readouterr().out
    if name == 'emdb1':  # the same picture five times: nothing moves
        assert first['jitter_10m_s3'] == pytest.approx(0, abs=1e-3) and first['mpjae_pa_deg'] < 60


def test_3dpw_is_what_one_measures_by_hand(roots, shots, tmp_path) -> None:
    found = evaluate(roots, '3dpw', '3dpw', tmp_path)
    pipeline = Pipeline(detector='none', smoothing=False, smooth_boxes=False)
    joints = [miniatures.pixels(shots[0], miniatures.keypoints(p)[miniatures.COCO17]) for p in shots[0].people]
    boxes = [Box(np.concatenate([one.min(0), one.max(0)]), id=i + 1) for i, one in enumerate(joints)]
    people = list(pipeline(Frame(shots[0].still.image, shots[0].still.camera), boxes))
    predicted, true = (np.array([p.joints for p in side], np.float64) for side in (people, shots[0].people))
    weights = np.array([3, 2]) / 5  # the frames in which each is asked for
    figures = found['protocols']['challenge']
    assert figures['mpjpe_mm'] == pytest.approx(weights @ metrics.mpjpe(predicted, true), rel=2e-3)
    regressor = np.load(roots / 'bodies' / 'J_regressor_h36m.npy')[list(J14)]
    fourteen = metrics.pa_mpjpe(
        *(np.array([regressor @ p.vertices for p in side]) for side in (people, shots[0].people))
    )
    assert found['protocols']['14 joints']['pa_mpjpe_mm'] == pytest.approx(weights @ fourteen, rel=2e-3)
    angles = metrics.mpjae(np.array([p.rotations for p in people]), np.array([p.rotations for p in shots[0].people]))
    assert figures['mpjae_deg'] == pytest.approx(weights @ angles, rel=2e-3)
    assert sum(row['n'] for row in found['by_distance'].values()) == 5
    closer = evaluate(roots, '3dpw', '3dpw', tmp_path, '--boxes', 'keypoints', '--focal', 'diagonal', '--limit', '2')
    assert (closer['images'], closer['boxes'], closer['focal']) == (2, 'keypoints', 'diagonal')


def test_agora_finds_people_by_itself(roots, crowd, tmp_path, capsys) -> None:
    found = evaluate(roots, 'agora', 'agora', tmp_path, '--focal', '1000')
    table = found['agora']
    assert found['boxes'] == 'detector' and 0 < table['f1'] <= 1
    assert table['nmje_mm'] == pytest.approx(table['mpjpe_mm'] / table['f1'])
    assert 'NMJE' in capsys.readouterr().out


def test_damage_is_named_and_gone_around(roots, shots, tmp_path, capsys) -> None:
    miniatures.threedpw(tmp_path / 'data', shots[:1] * 2)
    broken = tmp_path / 'data' / 'sequenceFiles' / 'test' / 'broken_00.pkl'
    broken.write_bytes((tmp_path / 'data' / 'sequenceFiles' / 'test' / 'walk_00.pkl').read_bytes()[:900])
    words = ['evaluate', '--dataset', '3dpw', '--root', str(tmp_path / 'data'), '--body', str(roots / 'bodies')]
    assert cli.main(words) == 2
    assert "broken_00.pkl' is no sequence of 3DPW" in capsys.readouterr().err
    (tmp_path / 'data' / 'imageFiles' / 'walk_00' / 'image_00001.jpg').write_bytes(b'no image')
    broken.rename(broken.with_suffix('.off'))
    assert cli.main(words) == 2
    assert 'image_00001.jpg' in capsys.readouterr().err
    broken.with_suffix('.off').rename(broken)
    report = tmp_path / 'report.json'
    assert cli.main([*words, '--skip-damaged', '--report', str(report)]) == 0
    found = json.loads(report.read_text())
    assert found['people'] == 2 and [('broken_00' in one) + 2 * ('image_00001' in one) for one in found['damaged']] == [
        1,
        2,
    ]


def test_what_is_missing_is_said(roots, tmp_path, capsys) -> None:
    words = ['evaluate', '--dataset', '3dpw']
    assert cli.main(words) == 2 and '--root' in capsys.readouterr().err
    assert cli.main([*words, '--root', str(roots / '3dpw')]) == 2
    assert 'J_regressor_h36m.npy' in capsys.readouterr().err
    (tmp_path / 'SMPL_NEUTRAL.npz').write_bytes((roots / 'bodies' / 'SMPL_NEUTRAL.npz').read_bytes())
    (tmp_path / 'J_regressor_h36m.npy').write_bytes((roots / 'bodies' / 'J_regressor_h36m.npy').read_bytes())
    assert cli.main([*words, '--root', str(roots / '3dpw'), '--body', str(tmp_path)]) == 2
    assert 'SMPL_MALE' in capsys.readouterr().err
    assert cli.main(['evaluate', '--root', str(roots)]) == 2 and 'published benchmark' in capsys.readouterr().err
    with pytest.raises(ModelError, match='smplx2smpl'):
        _ = BodyFolder(tmp_path).to_smpl
    with pytest.raises(InputError, match='--focal'):
        camera_of(labels_of('coco', roots)[0], 10, 10, 'near')
    with pytest.raises(InputError, match='nothing says'):
        camera_of(labels_of('coco', roots)[0], 10, 10, 'truth')
    assert camera_of(labels_of('coco', roots)[0], 30, 40, 'sum').f == 35
    assert Cameras.read(focal='diagonal').of('x') == {'guessed': True}


def test_the_row_beside_is_the_networks_own() -> None:
    assert beside('3dpw', 'cliff_hrnet_w48', 'official').figures['mpjpe_mm'] == 69.0
    assert beside('emdb1', 'cliff_hrnet_w48', 'official').figures['mve_mm'] == 122.884
    assert beside('h36m-p1', 'cliff_resnet50', 'official').figures == {'mpjpe_mm': 52.8, 'pa_mpjpe_mm': 35.7}
    assert beside('coco', 'cliff_embedded', 'embedded') is None


def test_two_processes_measure_the_same(roots, tmp_path, capsys) -> None:
    one = evaluate(roots, '3dpw', '3dpw', tmp_path)
    two = evaluate(roots, '3dpw', '3dpw', tmp_path, '--workers', '2')
    assert two == one
    words = ['evaluate', '--dataset', '3dpw', '--root', str(roots / '3dpw'), '--body', str(roots / 'bodies')]
    assert cli.main([*words, '--plan', '10']) == 0
    assert 'a million frames on 10 machine(s)' in capsys.readouterr().out

"""The pipeline from image to people, with a tiny graph of the real form on the real ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cliff_ros.body import load_body
from cliff_ros.camera import Camera
from cliff_ros.errors import InputError, ModelError
from cliff_ros.people import Box, Frame, TrackState
from cliff_ros.pipeline import STAGES, Pipeline
from cliff_ros.track import OneEuroOptions, SmootherOptions

pytest.importorskip('onnx', reason='the tiny graphs of these tests are built with onnx')
from graphs import runtime_graph

WIDTH, HEIGHT = 640, 480
CAMERA = Camera(WIDTH, HEIGHT, [[500, 0, 320], [0, 500, 240], [0, 0, 1]])
FISHEYE = Camera(WIDTH, HEIGHT, [[200, 0, 320], [0, 200, 240], [0, 0, 1]], 'equidistant', [0.0, 0, 0, 0])


@pytest.fixture(scope='module')
def body():
    return load_body()


@pytest.fixture(scope='module')
def graph(tmp_path_factory, body):
    return runtime_graph(tmp_path_factory.mktemp('graph') / 'tiny.onnx', body)


@pytest.fixture
def make(graph):
    return lambda **options: Pipeline(
        **{'model': graph, 'detector': 'none', 'engine': 'onnx', 'refine_boxes': False} | options
    )


def frame(stamp=0.0, camera=CAMERA, red=0) -> Frame:
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    image[..., 0] = red
    return Frame(image, camera, stamp)


def box(x=320.0, y=240.0, height=200.0, **kwargs) -> Box:
    return Box([x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2], **kwargs)


@pytest.mark.parametrize('smoothing', [False, True])
def test_one_person_where_the_crop_camera_puts_them(make, body, smoothing):
    pipeline = make(smoothing=smoothing)
    people = pipeline(frame(red=51), [box(400, 200, score=0.7)])
    (person,) = people
    # s = 1: a person as high as the crop (1.1 of the box) is 2 m high.
    depth = 2 * 500 / (1.1 * 200)
    middle = (person.vertices.max(0) + person.vertices.min(0)) / 2
    # Smoothing rebuilds the mesh with the betas, which the tiny graph's own mesh does not have.
    np.testing.assert_allclose(middle[:2], [depth * 80 / 500, depth * -40 / 500], atol=0.03 if smoothing else 1e-4)
    assert person.joints[0, 2] == pytest.approx(depth, rel=0.01)
    assert person.betas[0] == pytest.approx(0.2, abs=2e-3)  # the crop was cut, in RGB
    assert (person.id, person.score, person.track_state, person.age) == (1, 0.7, TrackState.NEW, 0)
    np.testing.assert_allclose(person.box, box(400, 200).xyxy)
    np.testing.assert_allclose(person.joints2d, CAMERA.project(person.joints))
    assert (person.velocity == 0).all()
    assert tuple(people.timings) == STAGES and people.timings['infer'] > 0 and people.num_crops == 1
    nobody = pipeline(frame(1.0), [])  # what was found before keeps what it cost
    assert nobody == [] and nobody.num_crops == 0 and people.num_crops == 1


@pytest.mark.parametrize('camera', [CAMERA, FISHEYE], ids=['pinhole', 'fisheye'])
def test_mesh_is_the_body_of_the_reported_parameters(make, body, camera):
    """Smoothed or turned into a fisheye's optical frame: consumers rebuild the mesh from the parameters."""
    pipeline = make()
    for i in range(4):
        boxes = [box(130 + 10 * i, height=200 + 5 * i), box(560, 240, 150)]
        people = pipeline(frame(i / 15, camera, red=10 * i), boxes)
        for person in people:
            joints, vertices = body(person.betas[None], person.rotations[None], person.translation[None])
            np.testing.assert_allclose(person.joints, joints[0], atol=1e-5)
            np.testing.assert_allclose(person.vertices, vertices[0], atol=1e-5)
            for value in (person.rotations, person.joints, person.joints2d, person.velocity):
                assert np.isfinite(value).all()
    assert [person.id for person in people] == [1, 2]


def test_a_turned_view_gives_the_same_person_as_its_own_mesh(make, body):
    """Far off a fisheye's axis the graph answers in a turned view; unsmoothed output is turned back."""
    pipeline = make(smoothing=False)
    (person,) = pipeline(frame(camera=FISHEYE), [box(590, 240, 150)])  # 77 degrees off axis
    direction = person.joints[0] / np.linalg.norm(person.joints[0])
    assert np.degrees(np.arccos(direction[2])) > 65
    # The tiny graph's betas are 0 on black, so its mesh is the mean body's.
    joints, vertices = body(person.betas[None], person.rotations[None], person.translation[None])
    np.testing.assert_allclose(person.vertices, vertices[0], atol=1e-4)
    np.testing.assert_allclose(person.joints, joints[0], atol=1e-4)
    # Seen upright in the turned view; the middle of the mesh lies on the ray through the box.
    middle = (person.joints2d.max(0) + person.joints2d.min(0)) / 2
    np.testing.assert_allclose(middle, [590, 240], atol=25)


def test_what_the_network_takes_for_no_person_is_left_out(tmp_path, body, make):
    """By a probability, lower for somebody who was there before; boxes that are given are believed."""
    seeing = str(runtime_graph(tmp_path / 'seeing.onnx', body, presence=True))

    def seen(reds, **options) -> list[int]:
        pipeline = make(model=seeing, detector='embedded', coast=0.0, smoothing=False, min_hits=1, **options)
        pipeline.detector = lambda image, order: [box(200), box(450)]
        images = [frame(i / 15, red=red) for i, red in enumerate(reds)]
        return [len(pipeline(image)) for image in images]

    faint, clear, half = 20, 250, 90  # of 255
    assert seen([faint, half, clear, half, faint, half]) == [0, 0, 2, 2, 0, 2]
    assert seen([faint, half], presence_threshold=0.0) == [2, 2]
    assert seen([half, clear], presence_threshold=0.3) == [2, 2]
    given = make(model=seeing)
    assert len(given(frame(red=faint), [box()])) == 1
    blind = make()
    blind.detector = lambda image, order: [box()]
    assert len(blind(frame(red=faint))) == 1


def test_nobody_is_there_twice(make):
    """Two boxes of one person, which overlap too little for the detector: the one who was there first stays."""
    pipeline = make(coast=0.3)
    found = [box(300)]
    pipeline.detector = lambda image, order: found
    assert [person.id for person in pipeline(frame(0.0))] == [1]
    found = [box(302, 243, height=197, score=0.9), box(294, 236, height=178), box(500)]
    pipeline(frame(0.1))
    first, other = pipeline(frame(0.2))
    assert first.id == 1 and other.joints2d[0, 0] == pytest.approx(500, abs=10)
    assert len(make()(frame(), found)) == 3  # boxes that are given are believed


def test_an_id_stays_when_the_other_of_two_boxes_is_the_one_that_is_left(make):
    pipeline, found = make(coast=0.3), [box(300)]
    pipeline.detector = lambda image, order: found
    pipeline(frame(0.0))
    small = box(298, 240, height=172)
    found = [box(301), small]
    assert [person.id for person in pipeline(frame(0.1))] == [1]
    found = [small]  # tracked as somebody of its own, who was never reported
    for i in range(2, 12):
        (person,) = pipeline(frame(i / 10))
        assert (person.id, person.track_state) == (1, TrackState.OK) and person.age == pytest.approx(i / 10)
    found = [small, box(500)]
    pipeline(frame(1.2))
    assert [person.id for person in pipeline(frame(1.3))] == [1, 3]


@pytest.mark.parametrize('smoothing', [True, False])
def test_another_box_of_somebody_is_no_step_towards_the_camera(make, smoothing):
    """They walk sideways; the box that is left is smaller and puts them 0.4 m farther away: all state moves along."""
    pipeline = make(coast=0.3, smoothing=smoothing)
    pipeline.detector = lambda image, order: found
    people = []
    for i in range(30):
        x = 150 + 8 * i
        whole, part = box(x), box(x - 1, 242, height=184)
        found = [whole] if i < 12 else [whole, part] if i < 15 else [part]
        people.append(pipeline(frame(i / 15))[0])
    assert {person.id for person in people} == {1}
    across = 8 * 15 * np.array([person.joints[0, 2] / 500 for person in people])
    velocity = np.array([person.velocity for person in people])
    assert np.abs(velocity[8:, 2]).max() < 0.3
    np.testing.assert_allclose(velocity[8:, 0], across[8:], atol=0.25)
    assert people[-1].joints[0, 2] / people[5].joints[0, 2] == pytest.approx(200 / 184, rel=0.02)
    steps = np.linalg.norm(np.diff([person.joints[0] for person in people], axis=0), axis=1) * 15
    assert steps.max() < 8


def test_who_walks_in_front_of_somebody_keeps_the_own_id(make):
    """Both were reported: they are two people, however near they come."""
    pipeline = make(coast=0.3)
    pipeline.detector = lambda image, order: found
    for i in range(9):
        found = [box(300), box(460 - 20 * i, 240, height=190)][i > 5 :]  # the first is hidden in the end
        people = pipeline(frame(i / 30))
    assert next(person.track_state for person in people if person.id == 2) is TrackState.OK


def test_boxes_end_where_the_body_does(make, body):
    """The tiny graph's body is as high as 0.85 of the crop and wide: the box becomes its outline."""
    pipeline = make(refine_boxes=True, smoothing=False)
    pipeline.detector = lambda image, order: [box(320)]
    (person,) = pipeline(frame())
    pixels = CAMERA.project(person.vertices)
    outline = np.concatenate([pixels.min(0), pixels.max(0)])
    np.testing.assert_allclose(person.box, outline, atol=0.02 * (outline[3] - outline[1]))
    assert abs((outline[2] - outline[0]) / (outline[3] - outline[1]) - 0.4) > 0.3  # not the detector's box
    pipeline.reset()
    (given,) = pipeline(frame(), [box(320)])
    np.testing.assert_allclose(given.box, box(320).xyxy)


def test_vertices_only_when_wanted(make):
    for smoothing in (True, False):
        pipeline = make(smoothing=smoothing)
        assert pipeline(frame(0.0), [box()], vertices=False)[0].vertices is None
        assert pipeline(frame(0.1), [box()], vertices=True)[0].vertices.shape == (6890, 3)
        (coasting,) = pipeline(frame(0.2), [], vertices=True)
        assert coasting.vertices.shape == (6890, 3)
        assert pipeline(frame(0.25), [], vertices=False)[0].vertices is None


def test_nobody(make):
    pipeline = make()
    assert pipeline(frame(0.0), []) == []
    assert pipeline(frame(0.1), []) == []


def test_people_coast_for_a_moment_then_go(make, body):
    pipeline = make(coast=0.2)
    for i in range(30):
        people = pipeline(frame(i / 15), [box(100 + 4 * i)])
    (last,) = people
    assert last.track_state is TrackState.OK
    depth = last.translation[2]
    np.testing.assert_allclose(last.velocity[0], 4 * 15 * depth / 500, rtol=0.05)
    (person,) = pipeline(frame(30 / 15), [])
    assert person.id == last.id and person.track_state is TrackState.COASTING
    np.testing.assert_allclose(person.translation, last.translation + last.velocity / 15, atol=1e-9)
    np.testing.assert_allclose(person.joints2d, CAMERA.project(person.joints))
    vertices = body(person.betas[None], person.rotations[None], person.translation[None])[1][0]
    np.testing.assert_allclose(person.vertices, vertices, atol=1e-5)
    assert person.box[0] > last.box[0]
    assert len(pipeline(frame(32 / 15), [])) == 1
    assert pipeline(frame(33 / 15), []) == []
    (again,) = pipeline(frame(34 / 15), [box(100 + 4 * 34)])  # the id outlives the ghost
    assert again.id == last.id and again.track_state is TrackState.OK


def test_ids_are_kept_when_given_and_people_come_in_their_order(make):
    people = make()(frame(), [box(500, id=9), box(100, id=4)])
    assert [person.id for person in people] == [4, 9]


def test_bag_loops_and_resets_forget_people_but_not_ids(make):
    pipeline = make()
    pipeline(frame(5.0), [box()])
    (restarted,) = pipeline(frame(0.0), [box(330)])
    assert restarted.id == 2 and restarted.track_state is TrackState.NEW and restarted.age == 0
    assert (restarted.velocity == 0).all()
    pipeline.reset()
    assert pipeline(frame(0.1), [box()])[0].id == 3
    assert pipeline(frame(0.1), [box()])[0].id == 3  # the same stamp twice is fine


def test_too_many_people_keep_the_best_and_say_so_once(make, caplog):
    pipeline = make(max_people=2)
    for i in range(3):
        boxes = [box(100, score=0.2), box(300, score=0.9), box(500, score=0.8)]
        people = pipeline(frame(i / 10), boxes, vertices=False)
    assert [round(person.box.mean()) for person in people] == [270, 370]
    assert sum('max_people=2' in record.message for record in caplog.records) == 1


def test_impossible_people_are_left_out_and_the_rest_stays(make, caplog, monkeypatch):
    pipeline = make()
    run = type(pipeline.engine).__call__

    def damaged(self, crops, location, vertices=True):
        out = run(self, crops, location, vertices)
        out['rotations'][0, 3] = np.nan
        out['joints'][1, 0, 2] = -3
        return out

    monkeypatch.setattr(type(pipeline.engine), '__call__', damaged)
    for i in range(2):
        people = pipeline(frame(i / 10), [box(100, id=1), box(300, id=2), box(500, id=3)])
        assert [person.id for person in people] == [3]
    assert sum('not finite' in record.message for record in caplog.records) == 1
    assert sum('behind the camera' in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ('rate', 'options', 'found'), [(15, {}, 1), (5, {}, 0), (15, {'min_hits': 1}, 0), (5, {'min_hits': 3}, 2)]
)
def test_somebody_new_is_reported_when_seen_often_enough(make, rate, options, found):
    """Nobody is found later than in the second image; who is there in the first one, or in a still, at once."""
    pipeline, there = make(**options), [box(100)]
    pipeline.detector = lambda image, order: there
    first = [len(pipeline(frame(i / rate))) for i in range(3)]
    assert first == ([0, 0, 1] if options.get('min_hits') == 3 else [1, 1, 1])
    there = [box(100), box(500)]
    people = [pipeline(frame(i / rate)) for i in range(3, 7)]
    assert [len(each) for each in people] == [1] * found + [2] * (4 - found)
    new = people[found][1]
    assert (new.track_state, new.age) == (TrackState.NEW, 0) and (new.velocity == 0).all()
    assert people[3][1].track_state is (TrackState.OK if found < 3 else TrackState.NEW)


def test_who_is_there_for_one_image_is_neither_reported_nor_coasts(make):
    pipeline = make(coast=1.0)
    pipeline.detector = lambda image, order: [box(100)] + [box(500)] * (i % 3 == 2)
    for i in range(20):
        assert [person.box[0] < 200 for person in pipeline(frame(i / 15))] == [True]


def test_who_was_seen_a_few_times_only_does_not_coast(make):
    pipeline = make(coast=1.0)
    pipeline.detector = lambda image, order: [box(100)] * (i < 8) + [box(500)] * (3 <= i < 6)
    ids = []
    for i in range(12):
        ids.append([person.id for person in pipeline(frame(i / 15))])
    assert ids == [[1]] * 4 + [[1, 2]] * 2 + [[1]] * 6
    given = make(coast=1.0)  # boxes that are given are believed, as are those who made them
    given(frame(0.0), [box(100)])
    assert given(frame(0.1), [])[0].track_state is TrackState.COASTING


def test_nobody_jumps(make):
    """A box of three quarters of the height puts them 1.5 m farther away; one next to it, 0.8 m aside in 33 ms."""
    pipeline = make(smooth_boxes=False)
    pipeline.detector = lambda image, order: [found]
    found = box(300)
    people = [pipeline(frame(i / 30))[0] for i in range(8)]
    found = box(300, 215, height=150)
    people += [person for i in range(8, 20) for person in pipeline(frame(i / 30)) if person.id == 1]
    steps = np.diff([person.joints[0] for person in people], axis=0)
    assert np.linalg.norm(steps, axis=1).max() * 30 < 7.51
    assert max(np.linalg.norm(person.velocity) for person in people) < 7.51
    assert people[-1].joints[0, 2] == pytest.approx(2 * 500 / (1.1 * 150), rel=0.05)
    found = box(370, 215, height=150)
    after = [
        [person.id for person in pipeline(frame(i / 30)) if person.track_state is not TrackState.COASTING]
        for i in range(20, 24)
    ]
    assert after == [[], [2], [2], [2]]


def test_ids_from_outside_are_believed_when_they_jump(make):
    pipeline = make()
    for i in range(10):
        people = pipeline(frame(i / 30), [box(150 + i, id=7)])
    people = [pipeline(frame(i / 30), [box(450, id=7)])[0] for i in range(10, 13)]
    assert [person.id for person in people] == [7] * 3
    assert all(np.linalg.norm(person.velocity) < 0.1 for person in people)
    assert (people[0].box[0] + people[0].box[2]) / 2 == pytest.approx(450, abs=1)


def test_equal_poses_a_meter_behind_each_other_are_two_people(make):
    pipeline = make()
    near, far = (box(320 + 500 * x / z, height=2 * 500 / (1.1 * z)) for x, z in ((0, 4.0), (0.25, 5.0)))
    pipeline.detector = lambda image, order: [near, far]
    for i in range(3):
        assert len(pipeline(frame(i / 15))) == 2


def test_a_part_of_somebody_is_nobody(make):
    """Who is a few pixels high in the middle of a person would be far behind them: they could not be seen."""
    pipeline = make()
    pipeline.detector = lambda image, order: found
    found = [box(300, height=300)]
    pipeline(frame(0.0))
    found += [box(304, 235, height=40), box(560, height=40)]
    for i in range(1, 4):
        people = pipeline(frame(i / 15))
    assert sorted(round(np.mean(person.box[[0, 2]])) for person in people) == [300, 560]
    pipeline.reset()
    assert len(pipeline(frame(0.0))) == 2  # in a still, too


def test_between_detections_boxes_are_predicted(make):
    pipeline, calls = make(detection_interval=3), []

    class Walker:
        def __call__(self, image, order):
            calls.append(len(seen))
            return [box(100 + 5 * len(seen))]

    pipeline.detector, seen = Walker(), []
    for i in range(12):
        (person,) = pipeline(frame(i / 15), vertices=False)
        seen.append(person)
    assert calls == [0, 3, 6, 9]
    assert {person.id for person in seen} == {1}
    assert all(person.track_state is not TrackState.COASTING for person in seen)
    assert (seen[11].box[0] + seen[11].box[2]) / 2 == pytest.approx(155, abs=4)


def test_smoothing_can_be_set_and_switched(make):
    pipeline = make(smoothing=SmootherOptions(distance=OneEuroOptions(0.1, 0.0)))
    (first,) = pipeline(frame(0.0), [box()])
    pipeline.options = replace(pipeline.options, coast=0.3)  # another option does not start afresh
    (smoothed,) = pipeline(frame(0.1), [box(height=220)])
    pipeline.options = replace(pipeline.options, smoothing=False)
    (raw,) = pipeline(frame(0.2), [box(height=220)])
    assert first.translation[2] > smoothed.translation[2] > raw.translation[2] + 0.1
    assert raw.id == first.id


def test_images_in_either_order_give_the_same(make):
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    a = make()(Frame(rgb, CAMERA), [box()])[0]
    b = make()(Frame(rgb[..., ::-1].copy(), CAMERA, order='bgr'), [box()])[0]
    np.testing.assert_allclose(a.betas, b.betas, atol=1e-6)


def test_refusals_say_what_to_do(make, tmp_path, body):
    with pytest.raises(InputError, match='64x48 but its camera 640x480'):
        make()(Frame(np.zeros((48, 64, 3), np.uint8), CAMERA), [])
    with pytest.raises(InputError, match='no boxes were given'):
        make()(frame())
    with pytest.raises(InputError, match='max_people must lie in 1 .. 128, not 0'):
        make(max_people=0)
    other = runtime_graph(tmp_path / 'other.onnx', body, body_sha256='0' * 64)
    with pytest.raises(ModelError, match="which is not 'embedded'"):
        make(model=other)

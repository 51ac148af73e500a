"""The report on real recordings, and the choice of thresholds: their arithmetic, on people made by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import landmarks, referee, thresholds
from bench.agreement import MEDIAPIPE, SMPL, Clip, Labels, assign, judge, link, motion
from bench.candidates import Candidates, Finder, Thresholds, over_time, stills
from bench.thresholds import Recorded, against_boxes, presence_of_boxes
from cliff_ros.evaluation.calibration import expected_calibration_error, reliability

RNG = np.random.default_rng(0)
PERSON = RNG.uniform(0, 200, (24, 2)) + [20, 0]  # [px], our joints
FPS = 10.0


@pytest.fixture(autouse=True)
def _levels():
    """The programs quieten the core for themselves; who comes after hears it again."""
    logger = logging.getLogger('cliff_ros.sources')
    before = logger.level
    yield
    logger.setLevel(before)


def landmarks_of(person: np.ndarray, visible: float = 1.0) -> np.ndarray:
    """(33, 3) of a referee who agrees with our joints (24, 2); 240 px high."""
    points = np.column_stack([np.tile(person.mean(0), (33, 1)), np.full(33, visible)])
    points[MEDIAPIPE, :2] = person[SMPL]
    points[:2, 1] = person[:, 1].mean() + [-120, 120]
    return points


def people(*rows: tuple) -> dict[str, np.ndarray]:
    """Columns from (frame, id, joints2d, further columns by name)."""
    columns = {'frame': [], 'id': [], 'joints2d': [], 'box': [], 'joints': [], 'track_state': []}
    for frame, id, joints2d, more in rows:
        row = {
            'frame': frame,
            'id': id,
            'joints2d': joints2d,
            'joints': np.zeros((24, 3)),
            'track_state': 1,
            'box': np.concatenate([joints2d.min(0), joints2d.max(0)]),
        } | more
        for name, value in row.items():
            columns[name].append(value)
    return {name: np.array(values) for name, values in columns.items()}


class TestAgreement:
    def test_joints_people_too_many_and_ids(self):
        """In four frames: the person, with a stranger beside, under another id with everything shifted, and missed."""
        away, shifted = PERSON + [600, 0], PERSON + [9.6, 0]
        ours = people(
            (0, 1, PERSON, {}),
            (1, 1, PERSON, {}),
            (1, 2, away, {}),
            (2, 3, shifted, {}),
            (3, 9, away, {'track_state': 2}),
        )
        seen = landmarks_of(PERSON)
        seen[MEDIAPIPE[0]] = *PERSON.mean(0), 0.1  # not seen: does not count
        clip = Clip(ours, [[seen], [seen], [seen], [seen]], fps=4.0)
        found = clip.figures()
        assert [frame.too_many for frame in clip.judged] == [0, 1, 0, 1]
        assert found['asked'] == 4 and found['found_share'] == 3 / 4 and found['too_many_per_frame'] == 1 / 2
        assert found['missed_per_frame'] == 1 / 4 and found['frames_with_too_many'] == 1 / 2
        assert found['joints_compared'] == 33 and found['joints_within_5_percent'] == 1
        assert found['ids_per_person'] == 2 and found['id_switches'] == 1 and found['ids'] == 4
        assert found['coasting_share'] == 1 / 5 and found['people_per_frame'] == 5 / 4

    def test_joint_errors_in_sizes_of_the_person(self):
        clip = Clip(
            people((0, 1, PERSON + [9.6, 0], {}), (1, 1, PERSON + [0, 19.2], {})),
            [[landmarks_of(PERSON)], [landmarks_of(PERSON)]],
            FPS,
        )
        found = clip.figures()
        assert found['joints_within_5_percent'] == 1 / 2 and found['joints_within_10_percent'] == 1
        assert found['sits_share'] == 1
        assert found['joint_medians_percent']['knees'] == pytest.approx(6)
        assert found['joints_median_percent'] == pytest.approx(6)

    def test_one_of_ours_for_one_of_theirs(self):
        """Two of ours on one person: one is too many, whichever is nearer."""
        ours = people((0, 1, PERSON + [8, 0], {}), (0, 2, PERSON, {}))
        frame = judge(np.array([0, 1]), ours['box'], ours['joints2d'], [landmarks_of(PERSON)])
        assert frame.pairs == {1: 0} and frame.too_many == 1 and frame.found == 1
        assert assign(np.zeros((2, 2))) == []

    def test_right_place_wrong_pose_is_found_but_does_not_sit(self):
        turned = PERSON.copy()
        turned[:, 0] = PERSON[:, 0].max() + PERSON[:, 0].min() - PERSON[:, 0]
        found = Clip(people((0, 1, turned, {})), [[landmarks_of(PERSON)]], FPS).figures()
        assert found['found_share'] == 1 and found['too_many_per_frame'] == 0 and found['sits_share'] == 0

    def test_who_is_hardly_seen_is_not_asked_for(self):
        empty = {name: values[:0] for name, values in people((0, 1, PERSON, {})).items()}
        found = Clip(empty, [[landmarks_of(PERSON, visible=0.4)], []], FPS).figures()
        assert found['asked'] == 0 and found['found_share'] is None and found['joints_median_percent'] is None
        assert found['too_many_per_frame'] == 0 and found['ids'] == 0 and found['jitter'] is None


class TestLabels:
    """Where a human has looked, the referee's word counts less."""

    ENTRY = {
        'empty': [[0, 2]],
        'people': [{'seen': [[2, 9]], 'whole': [[3, 5], [7, 8]]}, {'seen': [[4, 6]], 'whole': [[4, 6]]}],
    }

    def test_counts(self):
        labels = Labels.of(self.ENTRY)
        assert [labels.people_seen(n) for n in range(10)] == [0, 0, 1, 1, 2, 2, 1, 1, 1, 0]
        assert [labels.people_whole(n) for n in range(10)] == [0, 0, 0, 1, 2, 1, 0, 1, 0, 0]
        assert Labels().people_seen(0) is None and Labels(empty=[(3, 4)]).people_seen(3) == 0

    def test_nobody_is_held_against_us_whom_only_the_referee_misses(self):
        ours = people((2, 1, PERSON, {}), (2, 2, PERSON + [500, 0], {}))
        frame = judge(np.array([0, 1]), ours['box'], ours['joints2d'], [], Labels.of(self.ENTRY), n=2)
        assert frame.too_many == 1 and frame.asked == 0
        assert judge(np.array([0, 1]), ours['box'], ours['joints2d'], [], Labels(), n=2).too_many == 2

    def test_the_referee_sees_a_ghost(self):
        ours = people((0, 1, PERSON, {}))
        ghost = landmarks_of(PERSON, visible=0.7)
        frame = judge(np.array([0]), ours['box'], ours['joints2d'], [ghost], Labels.of(self.ENTRY), n=0)
        assert frame.too_many == 1 and frame.asked == 0 and frame.referee_wrong == 1
        real = landmarks_of(PERSON + [500, 0])
        frame = judge(np.array([0]), ours['box'], ours['joints2d'], [ghost, real], Labels.of(self.ENTRY), n=2)
        assert frame.referee == [real] and frame.found == 0  # the one whose landmarks are seen best stays

    def test_empty_frames_and_full_view(self):
        ours = people((1, 1, PERSON, {}), (3, 1, PERSON, {}), (4, 1, PERSON, {}), (4, 2, PERSON + [500, 0], {}))
        found = Clip(
            ours, [[], [], [], [landmarks_of(PERSON)], [landmarks_of(PERSON)], []], FPS, Labels.of(self.ENTRY)
        ).figures()
        assert found['empty_frames'] == 2 and found['empty_quiet_share'] == 1 / 2 and found['empty_people'] == 1
        assert found['whole_people'] == 4 and found['whole_found_share'] == 3 / 4

    def test_boxes(self):
        labels = Labels(
            boxes={0: np.array([[0, 0, 100, 200], [300, 0, 400, 200]])}, ignored={0: np.array([[600, 0, 700, 200]])}
        )
        boxes = np.array([[0, 10, 100, 200], [605, 5, 650, 100], [800, 0, 900, 100.0]])
        frame = judge(np.arange(3), boxes, np.zeros((3, 24, 2)), [], labels, 0)
        assert (frame.asked, frame.found, frame.too_many) == (2, 1, 1)

    def test_of_the_shared_clips_are_in_order(self):
        clips = json.loads(referee.CLIPS.read_text())
        for name in set(clips) - {'about'}:
            labels = Labels.of(clips[name])
            for spans in (labels.empty, *(labels.seen or ()), *(labels.whole or ())):
                assert all(first < end for first, end in spans)
                assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
            for n in range(1400):
                assert labels.people_whole(n) <= (labels.people_seen(n) or 0)
                assert not (
                    labels.is_empty(n) and any(first <= n < end for spans in labels.seen or () for first, end in spans)
                )


class TestMotion:
    @staticmethod
    def motion(columns, unreal=()):
        return motion(columns, FPS, ~np.isin(np.arange(len(columns['id'])), unreal))

    def test_too_fast_only_with_state_ok(self):
        def at(x, frame, id=1, state=1):
            return frame, id, PERSON, {'joints': np.full((24, 3), [x, 0, 5.0]), 'track_state': state}

        # 0.7 m in a tenth of a second; 1 m; 1 m while coasting; 3 m over half a second, unseen; another id elsewhere
        found = self.motion(people(at(0, 0), at(0.7, 1), at(1.7, 2), at(2.7, 3, state=2), at(5.7, 8), at(99, 2, id=2)))
        assert found['too_fast'] == 1 and found['fastest_m_s'] == pytest.approx(10)

    def test_jitter_is_the_third_derivative(self):
        """x = t^3 has a jerk of 6 m/s^3 throughout."""
        t = np.arange(6) / FPS
        rows = [(n, 1, PERSON, {'joints': np.tile([x, 0, 5.0], (24, 1))}) for n, x in enumerate(t**3)]
        assert self.motion(people(*rows))['jitter'] == pytest.approx(0.6)
        assert self.motion(people(*rows), unreal=[0, 5])['jitter'] == pytest.approx(0.6)
        assert self.motion(people(*rows), unreal=[3])['jitter'] is None  # nobody trembles there
        assert self.motion(people(*rows[:3]))['jitter'] is None
        gap = rows[:3] + [(7, 1, PERSON, rows[4][3])]
        assert self.motion(people(*gap))['jitter'] is None  # not over a gap

    def test_acceleration_in_sizes_of_the_person(self):
        height = np.ptp(PERSON[SMPL], axis=0).max()
        rows = [(n, 1, PERSON + [0, y], {}) for n, y in enumerate((0, 0, height / 100, height / 100))]
        assert self.motion(people(*rows))['acceleration_percent'] == pytest.approx(1)


def test_the_referee_s_people_are_linked_by_place():
    one, other = landmarks_of(PERSON), landmarks_of(PERSON + [500, 0])
    clip = Clip(people((0, 1, PERSON, {})), [[one, other], [other + [5, 0, 0], one], [], [one], *[[]] * 20, [one]], FPS)
    assert link(clip.judged, FPS) == [(1, 0, 0), (2, 0, 1), (2, 1, 0), (1, 1, 1), (1, 3, 0), (3, 24, 0)]


class TestLandmarks:
    def test_squares_cover_the_image_and_overlap(self):
        for width, height in ((1768, 994), (1080, 1920), (500, 500)):
            views = landmarks.squares(width, height, [1.0, 0.6])
            sides = {side for *_, side in views}
            assert sides == {max(width, height), min(width, height), round(0.6 * min(width, height))}
            for side in sides - {max(width, height)}:
                covered = np.zeros((height, width), int)
                for left, top, size in views:
                    if size == side:
                        assert 0 <= left <= width - side and 0 <= top <= height - side
                        covered[top : top + side, left : left + side] += 1
                assert covered.min() >= 1

    def test_who_is_cut_by_a_square_is_left_to_another(self):
        points = landmarks_of(PERSON * 0.4 + [300, 300])
        assert landmarks.whole(points, 200, 200, 400, 1000, 1000)
        assert not landmarks.whole(points, 350, 200, 400, 1000, 1000)
        edge = landmarks_of(PERSON * 0.4)
        edge[MEDIAPIPE[0], 0] = 0
        assert landmarks.whole(edge, 0, 0, 400, 1000, 1000)  # cut by the image itself

    def test_once(self):
        best, double = landmarks_of(PERSON, 0.9), landmarks_of(PERSON + [4, 0], 0.8)
        part = landmarks_of(PERSON * 0.2 + 100, 0.85)
        part[:, :2] = part[:, :2].clip(80, 120)
        other, pole = landmarks_of(PERSON + [500, 0], 0.7), landmarks_of(PERSON + [900, 0], 0.5)
        kept = landmarks.once([double, part, best, other, pole])
        assert [points[0, 2] for points in kept] == [0.9, 0.7]


def figures(**changes) -> dict:
    clip = Clip(people((0, 1, PERSON, {})), [[landmarks_of(PERSON)]], FPS)
    return clip.figures() | changes


class TestReport:
    def test_table_with_columns_before_and_after(self):
        before = {'clips': {'ball': figures(too_many_per_frame=1.3, empty_quiet_share=0.9)}}
        now = {'clips': {'ball': figures(too_many_per_frame=0.05, empty_quiet_share=1.0), 'new': figures()}}
        rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in referee.tables(now, before).splitlines()]
        assert rows[0] == ['clip', 'ball, before', 'after', 'new']
        assert ['people too many, a frame', '1.30', '0.05', '0.00'] in rows
        assert ['empty frames that report nobody [%]', '90.0', '100.0', '-'] in rows
        assert {name for _, name, *_ in referee.ROWS} <= set(figures())

    def test_any_clip_from_video_to_report(self, tmp_path, monkeypatch, capsys):
        """Rendered people, landmarks from a cache as MediaPipe would have left them, and the whole command."""
        from cliff_ros.synthetic.sequence import Sequence

        scene = Sequence(5, 320, 240, FPS, 0.4, people=1)
        writer = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), FPS, (320, 240))
        for n in range(4):
            writer.write(np.ascontiguousarray(scene.image(n)[..., ::-1]))
        writer.release()
        camera = tmp_path / 'camera.yaml'
        scene.camera.to_yaml(camera)
        seen = [landmarks_of(person.joints2d) for n in range(4) for person in scene.truth(n)]
        assert len(seen) == 4
        np.savez(tmp_path / 'clip.npz', frame=np.arange(4), frames=4, size=(320, 240), landmarks=np.array(seen))
        photos = tmp_path / 'photographs'
        for kind, image in (('nobody', np.full((240, 320, 3), 90, np.uint8)), ('people', scene.image(0)[..., ::-1])):
            (photos / kind).mkdir(parents=True)
            cv2.imwrite(str(photos / kind / 'one.png'), image)
        (tmp_path / 'card.md').write_text('# Card\n<!-- real recordings -->\nold\n<!-- end -->\nThe end.\n')
        monkeypatch.setattr(
            'sys.argv',
            [
                'referee',
                str(tmp_path / 'clip.avi'),
                '--camera',
                str(camera),
                '--output',
                str(tmp_path / 'out'),
                '--cache',
                str(tmp_path),
                '--photographs',
                str(photos),
                '--into',
                str(tmp_path / 'card.md'),
            ],
        )
        referee.main()
        report = json.loads((tmp_path / 'out' / 'report.json').read_text())
        clip = report['clips']['clip']
        assert clip['frames'] == 4 and clip['found_share'] == 1 and clip['too_many_per_frame'] == 0
        assert clip['joints_median_percent'] < 5 and clip['ids_per_person'] is None  # too short to speak of ids
        assert report['photographs']['nobody']['reported'] == 0 and report['photographs']['people']['reported'] == 1
        assert (tmp_path / 'out' / 'table.md').read_text().strip() in capsys.readouterr().out
        card = (tmp_path / 'card.md').read_text()
        assert '| frames ' in card and 'old' not in card and card.endswith('<!-- end -->\nThe end.\n')
        sheet = cv2.imread(str(tmp_path / 'out' / 'clip' / 'sheet.png'))
        gray = (np.abs(sheet.astype(int) - 70) < 3).all(-1).mean()
        assert gray > 0.5 and (sheet > 250).all(-1).any()  # meshes and limbs on gray, nothing of the recording

    def test_what_is_wrong_is_said(self, tmp_path):
        parse = referee.arguments().parse_args
        with pytest.raises(referee.InputError, match='no clip cat: choose from one_by_one'):
            referee.chosen(parse(['--data', str(tmp_path), '--clips', 'cat', '--output', 'x']))
        with pytest.raises(referee.InputError, match='there is no .*none.mp4'):
            referee.chosen(parse([str(tmp_path / 'none.mp4'), '--output', 'x']))
        with pytest.raises(referee.InputError, match='--referee'):
            referee.landmarks('false', Path('clip.mp4'), tmp_path / 'none.npz', [1.0], 1)
        np.savez(tmp_path / 'other.npz', frame=[0], frames=1, landmarks=np.zeros((1, 33, 3)))
        assert len(referee.landmarks('false', Path('clip.mp4'), tmp_path / 'other.npz', [1.0], 1)[0]) == 1
        with pytest.raises(referee.InputError, match='1 frames of the 2'):
            referee.landmarks('false', Path('clip.mp4'), tmp_path / 'other.npz', [1.0], 2)


class TestCalibration:
    SAID = [0.05, 0.15, 0.15, 0.95, 0.95, 0.95, 0.95, 1.0]
    CAME = [0, 0, 1, 1, 1, 1, 0, 1]

    def test_against_numbers_by_hand(self):
        # bins 0: 1 at .05, none came; 1: 2 at .15, half; 9: 5 with a mean of .96, of which 4 came.
        expected = (1 * 0.05 + 2 * 0.35 + 5 * 0.16) / 8
        assert expected_calibration_error(self.SAID, self.CAME) == pytest.approx(expected)
        assert expected_calibration_error(self.SAID, self.CAME, bins=1) == pytest.approx(abs(5.15 / 8 - 5 / 8))
        assert expected_calibration_error([0.0, 1.0], [False, True]) == 0
        assert expected_calibration_error([1.0, 0.0], [False, True]) == 1
        assert np.isnan(expected_calibration_error([], []))

    def test_diagram(self):
        diagram = reliability(self.SAID, self.CAME)
        assert diagram['count'] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 5]
        assert diagram['came'][1] == 0.5 and diagram['came'][9] == 0.8 and diagram['said'][9] == pytest.approx(0.96)
        assert diagram['said'][2] is None and diagram['low'][1] == 0.1 and diagram['high'][9] == 1
        # An edge belongs to the bin that it opens.
        assert reliability([0.5], [1], bins=2)['count'] == [0, 1]

    @pytest.mark.parametrize('said, came', [([0.5, 2.0], [1, 1]), ([np.nan], [1]), ([0.5], [1, 0])])
    def test_nonsense_is_refused(self, said, came):
        with pytest.raises(ValueError):
            expected_calibration_error(said, came)


def candidates(*rows: tuple[float, float, float]) -> Candidates:
    """From (left, score, presence): people of 100 by 200 px, side by side."""
    boxes = np.array([[left, 0, left + 100, 200] for left, *_ in rows], float).reshape(-1, 4)
    joints = np.array([PERSON * 0.5 + [left, 0] for left, *_ in rows]).reshape(-1, 24, 2)
    score, presence = (np.array([row[i] for row in rows], float) for i in (1, 2))
    return Candidates(boxes, boxes, score, presence, joints, np.full(len(score), 3.0))


@pytest.fixture(scope='module')
def finder():
    return Finder()


class TestThresholds:
    def test_stills(self):
        image = candidates((0, 0.9, 0.99), (5, 0.8, 0.99), (300, 0.5, 0.6), (600, 0.25, 0.9))

        def kept(**thresholds):
            return next(stills([image], Thresholds(**thresholds))).tolist()

        assert kept() == [0]  # the second is the first once more
        assert kept(presence=0.5) == [0, 2]
        assert kept(score=0.2) == [0, 3]
        assert kept(score=0.85, presence=0.0) == [0]

    def test_over_time(self):
        """Half the presence keeps somebody; who is new waits for so many frames; a cut forgets."""
        images = [
            candidates((0, 0.9, 0.8)),
            candidates((4, 0.9, 0.4)),
            candidates((8, 0.9, 0.3)),
            candidates((12, 0.9, 0.8)),
        ]

        def reported(cuts=(), **thresholds):
            return [len(rows) for rows in over_time(images, Thresholds(**thresholds), FPS, frozenset(cuts))]

        assert reported() == [1, 1, 0, 1]
        assert reported(hits=2) == [0, 1, 0, 1] and reported(hits=3) == [0, 0, 0, 1]
        assert reported(presence=0.9) == [0, 0, 0, 0] and reported(score=0.95) == [0, 0, 0, 0]
        assert reported(hits=2, cuts=[3]) == [0, 1, 0, 0]
        gap = [images[0], *[candidates()] * 6, images[0]]
        assert [len(rows) for rows in over_time(gap, Thresholds(hits=2), FPS)][-1] == 0

    def test_found_against_too_many(self):
        images = [candidates((0, 0.9, 0.99), (300, 0.5, 0.6)), candidates((0, 0.9, 0.8), (600, 0.4, 0.9))]
        truth = [
            (np.array([[0, 0, 100, 200.0]]), np.zeros((0, 4))),
            (np.array([[300, 0, 400, 200.0]]), np.array([[590, 0, 700, 200.0]])),
        ]
        recorded = Recorded(images, against_boxes(images, truth))
        point = recorded.point(Thresholds())
        assert point['found'] == 1 / 2 and point['too_many'] == 1 / 2  # the ignored one is neither
        curves = recorded.curves(Thresholds())
        assert set(curves) == {'score', 'presence, 1 hits'}
        found = [point['found'] for point in curves['presence, 1 hits']]
        assert found == sorted(found, reverse=True) and found[-1] == 1 / 2
        assert [point for point in curves['score'] if point['score'] == 0.3] == [point_at(curves, 0.7)]

    def test_candidates_are_what_the_pipeline_finds(self, finder):
        from cliff_ros import Frame, Pipeline
        from cliff_ros.synthetic.sequence import Sequence

        scene = Sequence(7, 640, 480, FPS, 0.1, people=2)
        frame = Frame(scene.image(0), scene.camera)
        found = finder(frame)
        rows = next(stills([found], Thresholds()))
        people = Pipeline(smoothing=False, refine_boxes=False, score_threshold=0.3, presence_threshold=0.7)(frame)
        assert len(people) == len(rows) == len(scene.truth(0)) == 2
        joints = np.array([person.joints2d for person in people])
        apart = np.linalg.norm(joints[:, None] - found.joints2d[rows], axis=-1).mean(-1)
        assert apart.min(1).max() < 1 and apart.max() > 20  # [px]

    def test_rendered_images_and_their_report(self, finder):
        said, came = thresholds.presence_of_crops(finder, 16, everyday=True)
        assert len(said) == 16 and 2 < came.sum() < 14 and said[came].mean() > said[~came].mean() + 0.5
        rooms = thresholds.rendered_sequences(finder, 2, people=2)
        assert rooms.fps == 15 and rooms.cuts == {0} and rooms.judge(0, np.arange(0))[0] == 2
        assert rooms.point(Thresholds())['found'] > 0.5
        report = {
            'calibration': {'crops': thresholds.calibration(said, came)},
            'curves': {
                'stills': Recorded(rooms.images, rooms.judge).curves(Thresholds()),
                'rooms': rooms.curves(Thresholds()),
            },
        }
        table = thresholds.tables(report)
        assert f' {report["calibration"]["crops"]["ece"]:.3f} |' in table
        point = next(point for point in report['curves']['rooms']['presence, 3 hits'] if point['presence'] == 0.7)
        assert point['found'] == 0 and '| 0.0 / 0.000 |' in table  # nobody is there for three frames

    def test_boxes_of_a_part_say_nothing_about_presence(self):
        image = candidates((0, 0.9, 0.99), (300, 0.5, 0.6), (600, 0.4, 0.9), (20, 0.3, 0.2))
        image.detected[3] = 10, 0, 60, 60
        truth = [(np.array([[0, 0, 100, 200.0]]), np.array([[590, 0, 700, 200.0]]))]
        said, came = presence_of_boxes([image], truth)
        assert said.tolist() == [0.99, 0.6] and came.tolist() == [True, False]

    def test_presence_in_a_recording(self):
        """Only of frames in which the referee sees as many people as the human did."""
        image = candidates((0, 0.9, 0.99), (300, 0.5, 0.8))
        person = PERSON * 0.5
        image.detected[0] = np.concatenate([person.min(0), person.max(0)])
        one = [landmarks_of(person)]
        labels = Labels(empty=[(2, 3)], seen=[[(0, 2)]], whole=[[(0, 2)]])
        said, came = thresholds.presence_in_recording([image] * 3, [one, [], one], labels)
        assert said.tolist() == [0.99, 0.8, 0.99, 0.8] and came.tolist() == [True, False, False, False]


def point_at(curves: dict, presence: float) -> dict:
    return next(point for point in curves['presence, 1 hits'] if point['presence'] == presence)

"""Our people in a recording against a referee's and against what a human counted: the computing part.

The referee (`bench.landmarks`) is no truth: hips and shoulders are defined a few per cent of the height apart, and it
errs too. Where a human has looked through the clip, its word counts more: how many people can be seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from cliff_ros.boxes import iou
from cliff_ros.evaluation.metrics import left_out
from cliff_ros.people import TrackState

# Shoulders, elbows, wrists, hips, knees, ankles, left and right: SMPL's joints and MediaPipe's landmarks.
SMPL = [16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]
MEDIAPIPE = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
NAMES = ('shoulders', 'elbows', 'wrists', 'hips', 'knees', 'ankles')
VISIBLE, ENOUGH = 0.5, 6  # of a landmark; landmarks of a person who counts
SITS = 0.1  # mean distance of the joints, in sizes of the person, below which the mesh sits on the person
OVERLAP = 0.3  # IoU of boxes from which on somebody is found: landmarks end at the ankles and the nose, bodies do not
TOO_FAST = 8.0  # [m/s] of a pelvis: nobody near a robot runs like this
LINKED = 1.0  # [s] that the referee may lose somebody who stays the same person
LEAST_SEEN = 0.5  # [s] with the referee of a person whose ids count


@dataclass(frozen=True)
class Labels:
    """What a human saw in a clip. Spans are of frames, (first, one past the last).

    empty: spans without anybody. seen, whole: for each person, spans in which any part of them, or all of them, can be
    seen; None where nobody counted. boxes: frame -> (N, 4) everybody who is asked for [px]; ignored: frame -> (M, 4)
    people too far or too hidden to ask for. With boxes, the referee's people only say where joints are.
    """

    empty: Sequence[tuple[int, int]] = ()
    seen: Sequence[Sequence[tuple[int, int]]] | None = None
    whole: Sequence[Sequence[tuple[int, int]]] | None = None
    boxes: dict[int, np.ndarray] = field(default_factory=dict)
    ignored: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: dict) -> Labels:
        """From an entry of real_clips.json."""
        people = entry.get('people')
        return cls(
            empty=entry.get('empty', ()),
            seen=people and [person['seen'] for person in people],
            whole=people and [person['whole'] for person in people],
            **{
                name: {int(n): np.array(boxes, float) for n, boxes in entry.get(name, {}).items()}
                for name in ('boxes', 'ignored')
            },
        )

    def is_empty(self, frame: int) -> bool:
        return _within(frame, self.empty)

    def people_seen(self, frame: int) -> int | None:
        """How many people can be seen in a frame, in part or whole; None if nobody counted."""
        if self.is_empty(frame):
            return 0
        return None if self.seen is None else sum(_within(frame, spans) for spans in self.seen)

    def people_whole(self, frame: int) -> int:
        """How many of them are in full view."""
        return sum(_within(frame, spans) for spans in self.whole or ())


@dataclass(frozen=True)
class Clip:
    """A run of ours over a clip, and the referee's.

    people: columns of ``people.npz`` (cliff_ros.results). reference: for each frame, (33, 3) x, y [px] and visibility
    of each person of the referee. fps: [1/s].
    """

    people: dict[str, np.ndarray]
    reference: Sequence[Sequence[np.ndarray]]
    fps: float
    labels: Labels = Labels()

    @cached_property
    def judged(self) -> list[Judged]:
        """Every frame."""
        order = np.argsort(self.people['frame'], kind='stable')
        edges = np.searchsorted(self.people['frame'][order], np.arange(len(self.reference) + 1))
        return [
            judge(
                order[edges[n] : edges[n + 1]], self.people['box'], self.people['joints2d'], reference, self.labels, n
            )
            for n, reference in enumerate(self.reference)
        ]

    @property
    def real(self) -> np.ndarray:
        """(N,) bool: which of our rows are a person of the referee."""
        real = np.zeros(len(self.people['id']), bool)
        real[[row for frame in self.judged for row in frame.pairs]] = True
        return real

    def figures(self) -> dict:
        """The report of a clip, as `bench.referee` writes it."""
        frames, rows = len(self.reference), len(self.people['id'])
        return {
            'frames': frames,
            'people_per_frame': rows / frames if frames else 0.0,
            **counts(self.judged),
            **joints(self.judged, self.people['joints2d']),
            **identities(self.judged, self.people['id'], self.fps),
            **emptiness(self.judged, self.labels),
            **full_view(self.judged, self.labels),
            **motion(self.people, self.fps, self.real),
            'referee_acceleration_percent': _percent(referee_acceleration(self.judged, self.fps)),
            'coasting_share': _share(self.people['track_state'] == TrackState.COASTING),
        }


@dataclass(frozen=True)
class Judged:
    """A frame. rows: (R,) of ours. referee: its people who count. asked: how many people there are to find, at least.

    pairs: row -> referee's person. found: how many of those asked for have a row. too_many: rows of nobody.
    """

    rows: np.ndarray
    referee: list[np.ndarray]
    pairs: dict[int, int]
    asked: int
    found: int
    too_many: int
    referee_wrong: int = 0


def judge(
    rows: np.ndarray,
    boxes: np.ndarray,
    joints2d: np.ndarray,
    reference: Sequence[np.ndarray],
    labels: Labels = Labels(),
    n: int = 0,
) -> Judged:
    """Who is who in frame n. rows: (R,) of ours in boxes (N, 4) and joints2d (N, 24, 2) [px]."""
    known = sorted(
        (points for points in reference if (points[MEDIAPIPE, 2] > VISIBLE).sum() >= ENOUGH),
        key=lambda points: -points[MEDIAPIPE, 2].mean(),
    )
    seen = labels.people_seen(n)
    wrong = 0
    if n in labels.boxes:
        pairs = dict(_pairs(rows, boxes, joints2d, known))
        found, lost = _by_boxes(boxes[rows], labels.boxes[n])
        extra = lost & ~left_out(boxes[rows], labels.ignored.get(n, np.zeros((0, 4))))
        return Judged(rows, known, pairs, len(labels.boxes[n]), found, int(extra.sum()))
    if seen is not None and len(known) > seen:
        known, wrong = known[:seen], len(known) - seen
    pairs = dict(_pairs(rows, boxes, joints2d, known))
    # Whom the referee misses though a human sees them, ours may have found: so many rows are not held against us.
    spare = 0 if seen is None else seen - len(known)
    too_many = max(0, len(rows) - len(pairs) - spare)
    return Judged(rows, known, pairs, len(known), len(pairs), too_many, wrong)


def distance(joints2d: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Of our joints (24, 2) from a referee's person (33, 3): (12,) in sizes of the person, NaN for what it misses."""
    apart = np.linalg.norm(joints2d[SMPL] - points[MEDIAPIPE, :2], axis=-1) / size(points)
    return np.where(points[MEDIAPIPE, 2] > VISIBLE, apart, np.nan)


def size(points: np.ndarray) -> float:
    """The longer side of the box around somebody's landmarks (33, 3) [px]: the height of who stands upright."""
    return float(np.ptp(points[:, :2], axis=0).max())


def counts(judged: Sequence[Judged]) -> dict:
    """How many were found, and how many are nobody."""
    asked = sum(frame.asked for frame in judged)
    return {
        'asked': asked,
        'found_share': _ratio(sum(frame.found for frame in judged), asked),
        'too_many_per_frame': _ratio(sum(frame.too_many for frame in judged), len(judged)),
        'frames_with_too_many': _share([frame.too_many > 0 for frame in judged]),
        'missed_per_frame': _ratio(sum(frame.asked - frame.found for frame in judged), len(judged)),
        'referee_wrong': sum(frame.referee_wrong for frame in judged),
    }


def joints(judged: Sequence[Judged], joints2d: np.ndarray) -> dict:
    """How far our joints are from the referee's, of all who were found; joints2d (N, 24, 2) [px]."""
    errors = np.array(
        [distance(joints2d[row], frame.referee[person]) for frame in judged for row, person in frame.pairs.items()]
    ).reshape(-1, len(SMPL))
    every, pairs = errors[np.isfinite(errors)], errors.reshape(-1, len(NAMES), 2)
    sits = np.array([np.nanmean(row) < SITS for row in errors], bool)
    return {
        'joints_compared': int(every.size),
        'sits_share': _ratio(sits.sum(), sum(len(f.referee) for f in judged)),
        'joints_median_percent': _percent(every),
        'joints_within_5_percent': _share(every < 0.05),
        'joints_within_10_percent': _share(every < 0.1),
        'joint_medians_percent': {
            name: _percent(pairs[:, i][np.isfinite(pairs[:, i])]) for i, name in enumerate(NAMES)
        },
    }


def identities(judged: Sequence[Judged], ids: np.ndarray, fps: float) -> dict:
    """Under how many ids, (N,) of our rows, a person of the referee goes, and how often one gives way to another."""
    followed: dict[int, list[int]] = defaultdict(list)
    for person, n, i in link(judged, fps):
        followed[person] += [int(ids[row]) for row, other in judged[n].pairs.items() if other == i] or [-1]
    tracks = [track for track in followed.values() if len(track) >= LEAST_SEEN * fps]
    named = [[id for id in track if id >= 0] for track in tracks]
    switches = [sum(a != b for a, b in zip(track, track[1:], strict=False)) for track in named]
    number = [len(set(track)) for track in named if track]
    return {
        'referee_people': len(tracks),
        'ids_per_person': float(np.mean(number)) if number else None,
        'most_ids': max(number, default=0),
        'id_switches': sum(switches),
        'ids': len(np.unique(ids)),
    }


def link(judged: Sequence[Judged], fps: float) -> list[tuple[int, int, int]]:
    """The referee's people over time, who have no ids: (person, frame, index in the frame), greedily by place."""
    last: dict[int, tuple[int, np.ndarray]] = {}
    rows, count = [], 0
    for n, frame in enumerate(judged):
        alive = {person: points for person, (when, points) in last.items() if n - when <= max(1, LINKED * fps)}
        gain = np.array([[max(0.0, 1 - _apart(points, old)) for old in alive.values()] for points in frame.referee])
        known = dict(assign(gain)) if gain.size else {}
        for i, points in enumerate(frame.referee):
            person = list(alive)[known[i]] if i in known else (count := count + 1)
            last[person] = n, points
            rows.append((person, n, i))
    return rows


def emptiness(judged: Sequence[Judged], labels: Labels) -> dict:
    """What is reported in frames that show nobody."""
    rows = [len(frame.rows) for n, frame in enumerate(judged) if labels.is_empty(n)]
    return {'empty_frames': len(rows), 'empty_quiet_share': _share(np.array(rows) == 0), 'empty_people': sum(rows)}


def full_view(judged: Sequence[Judged], labels: Labels) -> dict:
    """How many of those in full view are reported, whether or not the referee sees them."""
    whole = np.array([labels.people_whole(n) for n in range(len(judged))], int)
    right = np.array([len(frame.rows) - frame.too_many for frame in judged], int)
    return {'whole_people': int(whole.sum()), 'whole_found_share': _ratio(np.minimum(whole, right).sum(), whole.sum())}


def motion(people: dict[str, np.ndarray], fps: float, real: np.ndarray) -> dict:
    """How people move: what nobody could do, and what trembles; the latter of rows that are somebody, real (N,) bool.

    ``too_fast``: consecutive reports of an id, the later with state OK, whose pelvis was faster than 8 m/s.
    ``jitter``: mean third derivative of all joints in the camera's frame [10 m/s^3] (EMDB).
    ``acceleration_percent``: median second difference of joints in the image, per cent of the person's size.
    """
    fastest, too_fast, jerks, bends = 0.0, 0, [], []
    for rows in tracks(people):
        frames, joints = people['frame'][rows], people['joints'][rows].astype(float)
        step = np.diff(frames)
        speed = np.linalg.norm(np.diff(joints[:, 0], axis=0), axis=-1) * fps / np.maximum(step, 1)
        speed = speed[people['track_state'][rows][1:] == TrackState.OK]
        too_fast += int((speed > TOO_FAST).sum())
        fastest = max(fastest, speed.max(initial=0.0))
        pixels = people['joints2d'][rows].astype(float)
        good = real[rows]
        for run in np.split(np.arange(len(rows)), np.flatnonzero((step != 1) | (good[1:] != good[:-1])) + 1):
            if not good[run[0]]:
                continue
            jerks.append(np.linalg.norm(np.diff(joints[run], 3, axis=0), axis=-1).ravel() * fps**3 / 10)
            bends.append(_bends(pixels[run][:, SMPL]))
    jerk, bend = (np.concatenate([*some, np.zeros(0)]) for some in (jerks, bends))
    return {
        'too_fast': too_fast,
        'fastest_m_s': float(fastest),
        'jitter': float(jerk.mean()) if jerk.size else None,
        'acceleration_percent': _percent(bend),
    }


def referee_acceleration(judged: Sequence[Judged], fps: float) -> np.ndarray:
    """The referee's second differences, as in `motion`: how much of ours is the person's own."""
    followed: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for person, n, i in link(judged, fps):
        followed[person].append((n, i))
    bends = []
    for track in followed.values():
        frames = np.array([n for n, _ in track])
        points = np.array([judged[n].referee[i][MEDIAPIPE, :2] for n, i in track])
        bends += [
            _bends(points[run]) for run in np.split(np.arange(len(track)), np.flatnonzero(np.diff(frames) != 1) + 1)
        ]
    return np.concatenate([*bends, np.zeros(0)])


def tracks(people: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The rows of each id in the order of their frames."""
    return [
        rows[np.argsort(people['frame'][rows], kind='stable')]
        for rows in (np.flatnonzero(people['id'] == id) for id in np.unique(people['id']))
    ]


def _bends(pixels: np.ndarray) -> np.ndarray:
    """Second differences of joints (T, J, 2) [px] in consecutive frames, in sizes of the person; (T - 2) J of them."""
    if len(pixels) < 3:
        return np.zeros(0)
    sizes = np.ptp(pixels, axis=1).max(-1)[1:-1, None]
    bends = np.linalg.norm(np.diff(pixels, 2, axis=0), axis=-1) / np.maximum(sizes, 1)
    return bends[np.isfinite(bends)]


def _pairs(
    rows: np.ndarray, boxes: np.ndarray, joints2d: np.ndarray, known: Sequence[np.ndarray]
) -> list[tuple[int, int]]:
    """(row, person of the referee) who are the same: their boxes overlap, or all joints agree."""
    if not len(rows) or not known:
        return []
    theirs = np.array([np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]) for points in known])
    overlap = iou(np.maximum(boxes[rows], 0).astype(float), theirs)
    apart = np.array([[np.nanmean(distance(joints2d[row], points)) for points in known] for row in rows])
    apart = np.where(np.isfinite(apart), apart, np.inf)
    gain = np.where(overlap >= OVERLAP, overlap, 0) + np.where(apart < SITS, 1.0, 0.0) * (1 - np.minimum(apart, 1))
    return [(int(rows[i]), j) for i, j in assign(gain)]


def assign(gain: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows and columns of gain (N, M) with the largest sum, one to one; those that gain nothing left out."""
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-gain), strict=True) if gain[i, j] > 0]


def _by_boxes(ours: np.ndarray, true: np.ndarray) -> tuple[int, np.ndarray]:
    """How many true boxes (M, 4) have one of ours (R, 4), and which of ours (R,) bool have none."""
    overlap = iou(ours, true)
    overlap[overlap < OVERLAP] = 0
    pairs = assign(overlap) if overlap.size else []
    lost = np.ones(len(ours), bool)
    lost[[i for i, _ in pairs]] = False
    return len(pairs), lost


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Distance of the middles of two finds of the referee, in sizes of the smaller."""
    return float(
        np.linalg.norm(one[MEDIAPIPE, :2].mean(0) - other[MEDIAPIPE, :2].mean(0))
        / max(min(size(one), size(other)), 1.0)
    )


def _within(frame: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(first <= frame < end for first, end in spans)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _share(flags) -> float | None:
    flags = np.asarray(flags)
    return float(flags.mean()) if flags.size else None


def _percent(values: np.ndarray) -> float | None:
    return float(100 * np.median(values)) if len(values) else None

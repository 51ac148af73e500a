"""Who is who of those seen in an image: nobody jumps, nobody is there twice, nobody is seen through somebody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cliff_ros.arrays import Bools, Floats
from cliff_ros.boxes import iou
from cliff_ros.camera import Camera
from cliff_ros.people import People
from cliff_ros.track.association import Tracker
from cliff_ros.track.duplicates import is_hidden, same_as
from cliff_ros.track.person import Track


def recognize(
    tracker: Tracker, people: People, camera: Camera, stamp: float, presence_threshold: float, needed: int, given: bool
) -> tuple[list[Track], People]:
    """Who the people are that are seen in an image through the boxes of tracks, whose ids they have.

    presence_threshold: of somebody new. needed: images in which somebody must be seen to be believed. given: whether
    the boxes come from outside: they are believed. Returns those who are somebody of their own, as tracks and people in
    the same order; the tracks know whether they were seen.
    """
    presence, seen = people.presence, tracker.named(people.id)
    who = without_jumps(tracker, seen, people.joints[:, 0], stamp)
    there = np.ones(len(who), bool)
    if presence is not None and not given:  # who is somebody else after all, was not there before
        there &= (presence >= presence_threshold) | np.array([a is b for a, b in zip(who, seen, strict=True)], bool)
    who = [who[i] for i in np.flatnonzero(there)]
    if not given:
        alone = once(tracker, who, people.joints[there], camera, stamp)
        there[there] = alone
        who = [who[i] for i in np.flatnonzero(alone)]
    for track in who:
        # Where the detector did not look, only a network that knows who is a person has seen somebody new.
        if track.confirmed or track.boxed == stamp or presence is not None:
            track.hit(stamp, needed)
    for track in tracker.tracks:
        if track not in who:
            track.miss(stamp)
    return who, people[there]


def without_jumps(tracker: Tracker, seen: Sequence[Track], pelvis: Floats, stamp: float) -> list[Track]:
    """Who the N people seen through the boxes of N tracks are, when nobody is faster than people are.

    pelvis: (N, 3) [m]. An id that came with its box, from outside, is believed.
    """
    who = list(seen)
    for i, track in enumerate(seen):
        if track.place is not None and not track.place.reaches(stamp, pelvis[i]):
            if track.person is not None and not track.named:
                who[i] = tracker.split(track, stamp)
            else:
                track.restart()
    return who


def once(tracker: Tracker, seen: list[Track], joints: Floats, camera: Camera, stamp: float) -> Bools:
    """(N,) bool: who of the N people seen is somebody of their own; `seen` tells their ids from now on.

    joints: (N, 24, 3) [m]. Who is seen goes before who is not, who is believed to be there before who is not, who was
    there longer before who is new. Somebody new who is where somebody is missed is the one who is missed.
    """
    lost = [track for track in tracker.tracks if track.confirmed and track.person is not None and track not in seen]
    tracks = seen + lost
    for track in tracks:
        track.doubled = False
    boxes = np.array([track.box.xyxy for track in tracks])
    if len(tracks) < 2 or np.count_nonzero(iou(boxes, boxes)) == len(tracks):  # each overlaps with itself alone
        return np.ones(len(seen), bool)
    joints = np.concatenate([joints, *(track.expected(stamp)[None] for track in lost)])
    joints2d, distance = camera.project(joints), np.linalg.norm(joints[:, 0], axis=1)
    who = same_as(
        joints2d,
        distance,
        np.array(
            [(stamp - track.born + 1e6 * track.confirmed + 1e9 * (i < len(seen))) for i, track in enumerate(tracks)]
        ),
    )
    for i in np.flatnonzero(who != np.arange(len(tracks))).tolist():
        old, new = tracks[i], tracks[who[i]]
        if i >= len(seen) > who[i] and not new.confirmed:
            # Not lost and another found in the same place: the same person, seen through another box.
            tracker.merge(old, new, joints[who[i], 0])
            seen[who[i]] = tracks[who[i]] = old
        else:
            old.doubled = True
    believed = np.array([track.confirmed and not track.doubled for track in tracks])
    if not believed.any():  # a first image, or a still
        believed = np.array([not track.doubled for track in tracks])
    for i, track in enumerate(seen):
        if not (track.confirmed or track.doubled):
            track.doubled = is_hidden(joints2d[i], distance[i], joints2d[believed], distance[believed], camera.f)
    return np.array([not track.doubled for track in seen], bool)

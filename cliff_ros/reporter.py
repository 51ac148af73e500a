"""What is said of the people who are followed: in a pose and at a place that follow from those before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cliff_ros.arrays import Floats
from cliff_ros.body import BodyModel
from cliff_ros.options import PipelineOptions
from cliff_ros.people import Frame, People, TrackState
from cliff_ros.track import PoseState, Smoother, SmootherOptions, Track
from cliff_ros.track.person import STEADY

_STILL = np.zeros(3)


class Reporter:
    """Smooths those who are seen and holds, for a moment, those who are not.

    body: poses their joints and meshes. options: which may be replaced between two images.
    """

    def __init__(self, body: BodyModel, options: PipelineOptions) -> None:
        self.body, self.options = body, options

    @property
    def options(self) -> PipelineOptions:
        """Of these, ``smoothing``, ``smooth_boxes`` and ``coast`` count here."""
        return self._options

    @options.setter
    def options(self, options: PipelineOptions) -> None:
        self._options = options
        # What the filters remember is the tracks': other filters go on from there.
        how = options.smoothing
        self._smoother = Smoother(how if isinstance(how, SmootherOptions) else None)

    def __call__(
        self, frame: Frame, tracks: Sequence[Track], seen: Sequence[Track], people: People, vertices: bool, given: bool
    ) -> People:
        """Everybody who is believed to be there, in the order of their ids.

        tracks: everybody who is followed; seen: those of them who are seen in this image, as these people (N,).
        given: whether boxes come from outside, which are believed: who was in one of them once may coast.
        """
        reported = self._seen(frame, seen, people, vertices)
        after = 1 if given else STEADY
        lost = [track for track in tracks if track.can_coast(frame.stamp, self.options.coast, after)]
        everybody = People.concatenate([reported, self._coasting(frame, lost, vertices)]) if lost else reported
        ids = everybody.id.tolist()
        return everybody if ids == sorted(ids) else everybody[np.argsort(everybody.id, kind='stable')]

    def _seen(self, frame: Frame, seen: Sequence[Track], people: People, vertices: bool) -> People:
        """Those of the people seen who are believed to be there; what is said of them is kept in their tracks."""
        if not seen:
            return People.empty()
        stamp, pelvis = frame.stamp, people.joints[:, 0]
        if self.options.smoothing:
            rotations, betas, pelvis = self._smoothed(seen, people, stamp)
        said = np.array([track.move(stamp, place) for track, place in zip(seen, pelvis, strict=True)])
        believed = np.array([track.confirmed for track in seen])
        seen = [track for track in seen if track.confirmed]
        if self.options.smoothing:
            # Other angles and lengths move every point: joints and mesh are made again from what is reported.
            rotations, betas = rotations[believed], betas[believed]
            translation = said[believed] - self.body.rest_joints(betas)[:, 0]
            people = self._posed(people[believed], betas, rotations, translation, vertices)
        else:
            people = _moved(people, said - pelvis)[believed]
        states = [track.report(stamp) for track in seen]
        people = people.with_(
            id=[track.id for track in seen],
            score=[track.score for track in seen],
            box=[track.box.place(self.options.smooth_boxes) for track in seen],
            joints2d=frame.camera.project(people.joints),
            velocity=[
                _STILL if state is TrackState.NEW else track.velocity
                for track, (state, _) in zip(seen, states, strict=True)
            ],
            track_state=[state for state, _ in states],
            age=[age for _, age in states],
        )
        for track, person in zip(seen, people, strict=True):
            track.person = person
        return people

    def _smoothed(self, seen: Sequence[Track], people: People, stamp: float) -> tuple[Floats, Floats, Floats]:
        """Rotations, betas and pelvis of people seen, smoothed over time."""
        pelvis, poses = people.joints[:, 0], []
        for i, track in enumerate(seen):
            if track.pose is None or not self._smoother.follows(track.pose, stamp):
                track.pose = PoseState(stamp, people.rotations[i], people.betas[i], pelvis[i])
            poses.append(track.pose)
        return self._smoother(poses, stamp, people.rotations, people.betas, pelvis)

    def _coasting(self, frame: Frame, lost: Sequence[Track], vertices: bool) -> People:
        """Those not seen now but a moment ago, held in their pose and moved on."""
        states = [track.report(frame.stamp) for track in lost]
        moved = np.array([track.coast(frame.stamp) for track in lost])
        # They were reported with a mesh, or without one, as it was wanted then.
        people = People.of(track.person.with_(vertices=None) for track in lost if track.person is not None)
        people = self._posed(people, people.betas, people.rotations, people.translation + moved, vertices)
        return people.with_(
            box=[track.box.xyxy for track in lost],
            joints2d=frame.camera.project(people.joints),
            velocity=[track.velocity for track in lost],
            track_state=[state for state, _ in states],
            age=[age for _, age in states],
        )

    def _posed(self, people: People, betas: Floats, rotations: Floats, translation: Floats, vertices: bool) -> People:
        """People in another pose, with its joints and, where wanted, its mesh."""
        pose = betas, rotations, translation
        joints, mesh = self.body(*pose) if vertices else (self.body.joints(*pose), None)
        return people.with_(betas=betas, rotations=rotations, translation=translation, joints=joints, vertices=mesh)


def _moved(people: People, shift: Floats) -> People:
    """People moved by (N, 3) [m]."""
    if not shift.any():
        return people
    mesh = people.vertices
    return people.with_(
        translation=people.translation + shift,
        joints=people.joints + shift[:, None],
        vertices=None if mesh is None else (mesh + shift[:, None]).astype(mesh.dtype),
    )

"""The network's look at people: crops around their boxes in, bodies in the camera's optical frame out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from cliff_ros.arrays import Bools, Floats, Reals, Rows
from cliff_ros.body import BodyModel
from cliff_ros.body.outline import Outline
from cliff_ros.boxes import iou
from cliff_ros.camera import Camera
from cliff_ros.crop.views import View, views_of
from cliff_ros.engine import Engine
from cliff_ros.graph.metadata import PRESENCE
from cliff_ros.people import Box, Frame, People

NEAREST = 0.1  # [m] a pelvis closer to the camera than this is a failure of the network
_CHECKED = ('rotations', 'betas', 'translation', 'joints')  # a network that fails gives no finite numbers


@dataclass(frozen=True)
class Look:
    """What is looked at in an image: K boxes, how the network sees them, and the crops, as the engine wants them."""

    boxes: Sequence[Box]
    views: Sequence[View]
    crops: Any

    def __len__(self) -> int:
        return len(self.boxes)


class Observer:
    """Looks at people with a network.

    engine: what `load_engine` gives. turn_beyond: of `PipelineOptions`. say: told (topic, sentence) of what goes wrong.
    """

    def __init__(self, engine: Engine, body: BodyModel, upright: int, say: Callable[[str, str], None]) -> None:
        self.engine, self.upright, self.turn_beyond = engine, upright, -1.0
        self._outline, self._say = Outline(body), say

    def cut(self, frame: Frame, boxes: Sequence[Box]) -> Look:
        """Cut the crops around boxes; those that the lens cannot see are left out."""
        spec = self.engine.spec
        if self.turn_beyond >= 0:
            spec = replace(spec, turn_beyond=self.turn_beyond)
        found = list(zip(boxes, views_of(boxes, frame.camera, spec, self.upright), strict=True))
        views = [view for _, view in found if view is not None]
        if len(views) < len(found):
            self._say(
                'box',
                'a box is left out: it lies outside the view of the lens; drop such boxes, or check that '
                'the camera is calibrated for this image',
            )
        self._check_places(views)
        return Look([box for box, view in found if view is not None], views, self.engine.cropper(frame, views))

    def _check_places(self, views: Sequence[View]) -> None:
        """Say where somebody is farther from the axis than anybody whom the network was trained on."""
        known = self.engine.spec.turn_beyond
        if self.turn_beyond <= known:
            return
        farthest = max((float(np.hypot(*view.location[:2])) for view in views), default=0.0)
        if farthest > np.tan(np.radians(known)):
            self._say(
                'place',
                f'somebody is more than {known:.0f} degrees off the axis, where the network was trained on nobody: '
                'their direction is a guess; leave turn_beyond at -1, or set it lower',
            )

    def understand(self, look: Look, vertices: bool) -> People:
        """The people in the boxes, under the boxes' ids, as the network sees them; whom it fails on is left out.

        Known of them are id, score and box, and what the network says: betas, rotations, translation, joints, presence
        and, where wanted, vertices.
        """
        location = np.array([view.location for view in look.views], np.float32).reshape(-1, 3)
        out = self.engine(look.crops, location, vertices)
        good = self._plausible(out)
        chosen = np.flatnonzero(good).tolist()
        boxes = [look.boxes[i] for i in chosen]
        people = People(
            id=np.array([-1 if box.id is None else box.id for box in boxes], np.int64),
            score=np.array([box.score for box in boxes]),
            box=np.array([box.xyxy for box in boxes]),
            rotations=out['rotations'][good].astype(np.float64),
            betas=out['betas'][good].astype(np.float64),
            translation=out['translation'][good].astype(np.float64),
            joints=out['joints'][good].astype(np.float64),
            vertices=out['vertices'][good] if vertices else None,
            presence=out[PRESENCE][good] if PRESENCE in out else None,
        )
        for i, j in enumerate(chosen):
            _to_camera(people, i, look.views[j])
        return people

    def look_again(
        self, frame: Frame, people: People, enough: Floats, accept: Callable[[Rows, Reals | None], Bools]
    ) -> tuple[People, Floats]:
        """Boxes (N, 4) as tight as the bodies are, which the network knows better than the detector; NaN if unknown.

        Who was looked at through a box that overlaps too little with that, less than enough (N,), is looked at once
        more through the right one, and the better body takes the place of the first where it is accepted: by
        ``accept(rows, presence)`` -> (K,) bool, rows (K,) of people. Returns those people, and the boxes.
        """
        outlines = self._boxes(frame.camera, people)
        wrong = np.flatnonzero(np.isfinite(outlines).all(1) & (iou(outlines, people.box).diagonal() < enough))
        if len(wrong):
            boxes = [Box(outlines[i], float(people.score[i]), int(people.id[i])) for i in wrong]
            better = self.understand(self.cut(frame, boxes), people.vertices is not None)
            rows = np.flatnonzero(np.isin(people.id, better.id))  # in their order
            accepted = accept(rows, better.presence)
            rows, better = rows[accepted], better[accepted]
            outlines[rows] = self._boxes(frame.camera, better)
            people = people.replaced(rows, better)
        return people, outlines

    def _boxes(self, camera: Camera, people: People) -> Floats:
        return self._outline.boxes(camera, people.betas, people.rotations, people.translation)

    def _plausible(self, out: dict[str, Floats]) -> Bools:
        """(N,) bool: finite and in front of the camera."""
        # A sum is finite where all its terms are.
        rows = (out[name].reshape(len(out[name]), prod(out[name].shape[1:])) for name in _CHECKED)
        finite: Bools = np.isfinite(sum(row.sum(1) for row in rows))
        ahead: Bools = out['joints'][:, 0, 2] > NEAREST
        if not finite.all():
            self._say('finite', 'the network gave numbers that are not finite: that person is left out')
        if not ahead[finite].all():
            self._say('ahead', 'the network put a person behind the camera: that person is left out')
        plausible: Bools = finite & ahead
        return plausible


def _to_camera(people: People, i: int, view: View) -> None:
    """Bring person i from the view to the camera's optical frame, in place."""
    if view.is_straight:
        return
    people.rotations[i, 0], people.translation[i] = view.pose_to_camera(
        people.rotations[i, 0], people.translation[i], people.joints[i, 0]
    )
    people.joints[i] = view.to_camera(people.joints[i])
    if people.vertices is not None:
        people.vertices[i] = view.to_camera(people.vertices[i])

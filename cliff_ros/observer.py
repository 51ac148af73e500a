"""The network's look at people: crops around their boxes in, bodies in the camera's optical frame out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.body.outline import Outline
from cliff_ros.boxes import iou
from cliff_ros.camera import Camera
from cliff_ros.crop.views import View, crops, views_of
from cliff_ros.engine import Engine
from cliff_ros.graph.metadata import PRESENCE
from cliff_ros.people import Box, Frame

NEAREST = 0.1  # [m] a pelvis closer to the camera than this is a failure of the network


@dataclass(frozen=True)
class Bodies:
    """N people as arrays: (N, 24, 3, 3), (N, B), (N, 3), (N, 24, 3), where wanted (N, V, 3), and (N,) the probability
    that each is a person, None of networks that do not say.
    """

    rotations: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray | None
    presence: np.ndarray | None

    def __len__(self) -> int:
        return len(self.betas)

    def __getitem__(self, chosen: np.ndarray) -> Bodies:
        """Some of them; chosen: (N,) bool."""
        if chosen.all():
            return self
        columns: list[Any] = [None if value is None else value[chosen] for value in self._columns()]
        return Bodies(*columns)

    def put(self, i: int, other: Bodies, j: int) -> None:
        """Person j of others in the place of person i."""
        for mine, theirs in zip(self._columns(), other._columns(), strict=True):
            if mine is not None:
                mine[i] = theirs[j]

    def move(self, shift: np.ndarray) -> None:
        """Move everybody, by (N, 3) [m]."""
        if not shift.any():
            return
        self.translation[:] += shift
        self.joints[:] += shift[:, None]
        if self.vertices is not None:
            self.vertices[:] += shift[:, None]

    def to_camera(self, i: int, view: View) -> None:
        """Bring person i from the view to the camera's optical frame, in place."""
        if view.is_straight:
            return
        self.rotations[i, 0], self.translation[i] = view.pose_to_camera(
            self.rotations[i, 0], self.translation[i], self.joints[i, 0]
        )
        self.joints[i] = view.to_camera(self.joints[i])
        if self.vertices is not None:
            self.vertices[i] = view.to_camera(self.vertices[i])

    def _columns(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]


class Observer:
    """Looks at people with a network.

    engine: what `load_engine` gives. turn_beyond: of `PipelineOptions`. say: told (topic, sentence) of what goes wrong.
    """

    def __init__(self, engine: Engine, body: BodyModel, upright: int, say: Callable[[str, str], None]) -> None:
        self.engine, self.upright, self.turn_beyond = engine, upright, -1.0
        self._outline, self._say = Outline(body), say

    def cut(self, frame: Frame, boxes: Sequence[Box]) -> tuple[np.ndarray, list[View], np.ndarray]:
        """Which boxes (K,) can be looked into, how the network sees them, and what (K, h, w, 3)."""
        spec = self.engine.spec
        if self.turn_beyond >= 0:
            spec = replace(spec, turn_beyond=self.turn_beyond)
        found = views_of(boxes, frame.camera, spec, self.upright)
        which = np.array([i for i, view in enumerate(found) if view is not None], int)
        views = [view for view in found if view is not None]
        if len(which) < len(found):
            self._say(
                'box',
                'a box is left out: it lies outside the view of the lens; drop such boxes, or check that '
                'the camera is calibrated for this image',
            )
        self._check_places(views)
        if self.engine.cut is not None:
            return which, views, self.engine.cut(frame, views)
        return which, views, crops(frame.image, frame.camera, views, spec, frame.order)

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

    def understand(self, views: Sequence[View], crops: np.ndarray, vertices: bool) -> tuple[np.ndarray, Bodies]:
        """Which of the crops (N,) bool the network did not fail on, and the bodies in those."""
        location = np.array([view.location for view in views], np.float32).reshape(-1, 3)
        out = self.engine(crops, location, vertices)
        good = self._plausible(out)
        rotations, betas, translation, joints = (
            out[name][good].astype(np.float64) for name in ('rotations', 'betas', 'translation', 'joints')
        )
        bodies = Bodies(
            rotations,
            betas,
            translation,
            joints,
            out['vertices'][good] if vertices else None,
            out[PRESENCE][good] if PRESENCE in out else None,
        )
        for i, person in enumerate(np.flatnonzero(good).tolist()):
            bodies.to_camera(i, views[person])
        return good, bodies

    def look_again(
        self,
        frame: Frame,
        bodies: Bodies,
        boxes: np.ndarray,
        enough: np.ndarray,
        accept: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
    ) -> np.ndarray:
        """Boxes (N, 4) as tight as the bodies are, which the network knows better than the detector; NaN if unknown.

        Who was looked at through a box (N, 4) that overlaps too little with that, less than enough (N,), is looked at
        once more through the right one, and the better body takes the place of the first where it is accepted: by
        ``accept(who, presence)`` -> bool, (K,) each.
        """
        outlines = self._boxes(frame.camera, bodies)
        wrong = np.flatnonzero(np.isfinite(outlines).all(1) & (iou(outlines, boxes).diagonal() < enough))
        if len(wrong):
            which, views, crops = self.cut(frame, [Box(outlines[i]) for i in wrong])
            good, better = self.understand(views, crops, bodies.vertices is not None)
            who = wrong[which][good]
            found = self._boxes(frame.camera, better)
            for j in np.flatnonzero(accept(who, better.presence)).tolist():
                outlines[who[j]] = found[j]
                bodies.put(who[j], better, j)
        return outlines

    def _boxes(self, camera: Camera, bodies: Bodies) -> np.ndarray:
        return self._outline.boxes(camera, bodies.betas, bodies.rotations, bodies.translation)

    def _plausible(self, out: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) bool: finite and in front of the camera."""
        # A sum is finite where all its terms are.
        finite = np.isfinite(
            sum(
                out[name].sum(axis=tuple(range(1, out[name].ndim)))
                for name in ('rotations', 'betas', 'translation', 'joints')
            )
        )
        ahead = out['joints'][:, 0, 2] > NEAREST
        if not finite.all():
            self._say('finite', 'the network gave numbers that are not finite: that person is left out')
        if not ahead[finite].all():
            self._say('ahead', 'the network put a person behind the camera: that person is left out')
        return finite & ahead

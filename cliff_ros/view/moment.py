"""What is shown at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.camera import Camera
from cliff_ros.people import Person
from cliff_ros.render.privacy import OFF


@dataclass(frozen=True)
class Moment:
    """One image, or none where it got lost, and the people in it.

    image: (H, W, 3) uint8 RGB, as ``camera`` took it. stamp: [s], of the source's clock.
    people: with or without ``vertices``. body: whose shapes and poses they have.
    latency: from the camera to here [ms], None where no clock tells. timings: stage -> ms. note: of the source.
    privacy: what must be covered in the image before it is shown; it is not yet.
    """

    camera: Camera
    people: Sequence[Person]
    body: BodyModel
    image: np.ndarray | None = None
    stamp: float = 0.0
    latency: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    note: str = ''
    privacy: str = OFF

    def with_vertices(self) -> Moment:
        """The same with everybody's mesh, made from pose and shape where it did not come along."""
        without = [person for person in self.people if person.vertices is None]
        if not without:
            return self
        _, meshes = self.body(
            np.stack([person.betas for person in without]),
            np.stack([person.rotations for person in without]),
            np.stack([person.translation for person in without]),
        )
        made = {person.id: person.with_(vertices=mesh) for person, mesh in zip(without, meshes, strict=True)}
        return replace(self, people=[made.get(person.id, person) for person in self.people])

    def shrunk(self, width: int) -> Moment:
        """The same with an image of at most ``width`` columns, and everything in pixels to match."""
        if self.image is None or self.camera.width <= width:
            return self
        scale = width / self.camera.width
        height = round(self.camera.height * scale)
        camera = shrunk_camera(self.camera, width, height)
        across, down = width / self.camera.width, height / self.camera.height
        people = [
            person.with_(
                box=(np.asarray(person.box, np.float64) + 0.5) * (across, down, across, down) - 0.5,
                joints2d=(np.asarray(person.joints2d, np.float64) + 0.5) * (across, down) - 0.5,
            )
            for person in self.people
        ]
        image = cv2.resize(self.image, (width, height), interpolation=cv2.INTER_AREA)
        return replace(self, camera=camera, people=people, image=image)


def shrunk_camera(camera: Camera, width: int, height: int) -> Camera:
    """The camera of an image resized to width x height (pixel centers at integers)."""
    across, down = width / camera.width, height / camera.height
    resized = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return Camera(width, height, resized @ camera.K, camera.distortion_model, camera.d, camera.R)

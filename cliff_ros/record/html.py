"""One page that plays the scene in 3D, from disk and without a server: viser's own export."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.files import write_bytes
from cliff_ros.record import Take
from cliff_ros.render.privacy import sentence
from cliff_ros.view.moment import Moment
from cliff_ros.view.panel import eye_beside
from cliff_ros.view.scene import CAMERA, Scene
from cliff_ros.view.server import Server

_WIDTH = 400  # [px] of the pictures: they are most of the page's size
_LONGEST = 1.0  # [s] between two images; a page should not stand still for what was cut out


class Html:
    """A `Recorder`."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        self._path, self._body = folder / 'replay.html', body
        self._server = Server(port=0, token='nobody')  # exports what a server would send; no one is to connect
        self._scene = Scene(self._server.viser.scene, _WIDTH)
        said = sentence(note)
        if said:
            self._server.viser.scene.add_label(f'{CAMERA}/privacy', said, position=(0.0, -0.5, 0.0))
        self._serializer = self._server.viser.get_scene_serializer()
        self._last: int | None = None

    def add(self, take: Take) -> None:
        """Append this moment after a pause as long as in the stamps, 1 s at most; the first sets the page's view."""
        if self._last is not None:
            self._serializer.insert_sleep(float(np.clip((take.stamp - self._last) * 1e-9, 0.0, _LONGEST)))
        first, self._last = self._last is None, take.stamp
        moment = Moment(take.camera, take.people, self._body, None, take.stamp * 1e-9)
        self._scene.update(moment, take.image if take.picture is None else take.picture)
        if first:
            camera = self._server.viser.initial_camera
            camera.up = (0.0, 0.0, 1.0)
            camera.position, camera.look_at = eye_beside(self._scene, 1.5)

    def close(self) -> list[Path]:
        """Write ``replay.html`` unless nothing was taken, and stop the server."""
        try:
            if self._last is None:
                return []
            write_bytes(self._path, self._serializer.as_html(dark_mode=True).encode())
            return [self._path]
        finally:
            self._server.close()

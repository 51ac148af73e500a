"""What is seen beside the 3D scene: the picture, who is there, how fast and how late, and the few things to steer."""

from __future__ import annotations

import html
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from cliff_ros.body.skin import standing_height
from cliff_ros.people import TrackState
from cliff_ros.render.colors import color_of
from cliff_ros.view.control import Control
from cliff_ros.view.moment import Moment
from cliff_ros.view.scene import Scene

VIEWS = ('beside the camera', "through the camera's eye", 'from above')
_STRIP = 20.0  # [s] shown of latency and rate
_TABLE_PERIOD, _PLOT_PERIOD = 0.2, 0.5  # [s]: nobody reads numbers faster
_JPEG_QUALITY = 80
_FOV = np.deg2rad(50)  # vertical, of the visitor's eye
_WIDE = 1.4  # width to height of a window in which everybody is seen from near by
_NEAR, _FAR = 0.5, 20.0  # [m] size of the camera's frustum
_STATES = {TrackState.NEW: 'new', TrackState.OK: 'seen', TrackState.COASTING: 'predicted'}


class Panel:
    """The page of a server. ``update`` is for one thread; what visitors do goes to ``control``."""

    def __init__(self, server: Any, scene: Scene, control: Control, sources: Sequence[str]) -> None:
        """sources: names of the cameras to choose from."""
        import viser

        self._server, self._scene, self._control = server, scene, control
        gui = server.gui
        gui.set_panel_label('cliff')
        panel = gui.add_panel()
        with panel.add_tab('Picture', viser.Icon.CAMERA):
            self._picture = gui.add_image(np.full((9, 16, 3), 40, np.uint8), format='jpeg', jpeg_quality=_JPEG_QUALITY)
            self._table = gui.add_html('')
        panel.dock_left()
        panel.set_width(480)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(300)
        self._said = gui.add_html('')
        self._source = gui.add_dropdown('Camera', tuple(sources)) if len(sources) > 1 else None
        view = gui.add_dropdown('Look from', VIEWS)
        self._pause = gui.add_button('Pause', icon=viser.Icon.PLAYER_PAUSE)
        step = gui.add_button('Step', icon=viser.Icon.PLAYER_SKIP_FORWARD)
        self._plots = [
            _strip(gui, title, color) for title, color in (('latency [ms]', '#62baf0'), ('images/s', '#40be96'))
        ]
        view.on_update(lambda event: self.look_from(view.value))
        server.on_client_connect(lambda client: self._place_camera(client, view.value))
        self._pause.on_click(lambda event: self._paused(not control.paused))
        step.on_click(lambda event: self._step())
        if self._source is not None:
            chosen = self._source
            chosen.on_update(lambda event: control.choose(list(sources).index(chosen.value)))
        self._strip: deque[tuple[float, float]] = deque()
        self._told = self._drawn = 0.0
        self._count = 0

    def update(self, moment: Moment, picture: np.ndarray | None, said: str = '') -> None:
        """picture: (h, w, 3) uint8 RGB, with people drawn over it; None where the image got lost.

        said: what is covered in it.
        """
        now = time.monotonic()
        self._count += 1
        self._strip.append((now, np.nan if moment.latency is None else moment.latency))
        while now - self._strip[0][0] > _STRIP:
            self._strip.popleft()
        if picture is not None:
            self._picture.image = picture
        still = self._control.paused
        if still or now - self._told >= _TABLE_PERIOD:
            self._told = now
            self._table.content = people_table(moment)
            self._said.content = self._sentence(moment, said)
        if still or now - self._drawn >= _PLOT_PERIOD:
            self._drawn = now
            self._plot(now)

    def say(self, text: str) -> None:
        """One line in place of numbers, such as what is waited for."""
        self._said.content = f'<p style="margin:0 1em">{html.escape(text)}</p>'

    def look_from(self, view: str) -> None:
        """Move every visitor's eye."""
        # Who looks from where the camera is has its picture behind the people, not in front of them.
        self._scene.move_picture(_FAR if view == VIEWS[1] else _NEAR)
        for client in self._server.get_clients().values():
            self._place_camera(client, view)

    def _place_camera(self, client: Any, view: str) -> None:
        rotation, position = self._scene.camera_pose
        middle = self._scene.middle
        away = float(np.linalg.norm(middle - position))
        eye = client.camera
        eye.fov = _FOV
        if view == VIEWS[1]:
            eye.up_direction, eye.position = -rotation[:, 1], position
            eye.look_at = position + away * rotation[:, 2]
            eye.fov = self._scene.field_of_view(eye.aspect)
        elif view == VIEWS[2]:
            eye.up_direction, eye.position = (0.0, 0.0, 1.0), middle + (-0.05, 0.0, 2 + away)
            eye.look_at = middle
        else:
            eye.up_direction = (0.0, 0.0, 1.0)
            eye.position, eye.look_at = eye_beside(self._scene, eye.aspect)

    def _paused(self, paused: bool) -> None:
        import viser

        self._control.pause(paused)
        self._pause.label = 'Go on' if paused else 'Pause'
        self._pause.icon = viser.Icon.PLAYER_PLAY if paused else viser.Icon.PLAYER_PAUSE

    def _step(self) -> None:
        if not self._control.paused:
            self._paused(True)
        self._control.step()

    def _sentence(self, moment: Moment, said: str) -> str:
        stages = ', '.join(f'{name} {ms:.0f}' for name, ms in moment.timings.items())
        lines = [f'image {self._count}, {moment.stamp:.2f} s', moment.note, said, f'ms: {stages}' if stages else '']
        return (
            '<p style="margin:0 1em 1em" id="cliff-said">' + '<br>'.join(map(html.escape, filter(None, lines))) + '</p>'
        )

    def _plot(self, now: float) -> None:
        times = np.array([then for then, _ in self._strip]) - now
        latency = np.array([ms for _, ms in self._strip])
        known = np.isfinite(latency)
        if known.any():
            self._plots[0].data = times[known], latency[known]
        edges = np.arange(-_STRIP, 0.5)
        counts, _ = np.histogram(times, edges)
        begun = edges[1:] > times[0] + 1 if len(times) else np.zeros(len(counts), bool)
        if begun.any():
            self._plots[1].data = edges[1:][begun], counts[begun].astype(float)


def eye_beside(scene: Scene, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Where to look from, and at: camera and people are both in sight. aspect: width to height of the window."""
    (_, position), middle = scene.camera_pose, scene.middle
    side = Rotation.from_euler('z', 35, degrees=True).apply(position - middle)
    far = 1.3 * max(1.0, _WIDE / max(aspect, 0.1))  # a narrow window shows as much
    return middle + far * side + (0.0, 0.0, 1.2), 0.7 * middle + 0.3 * position


def _strip(gui: Any, title: str, color: str) -> Any:
    """A plot of the last seconds."""
    from viser import uplot

    axis = uplot.Scale(time=False, auto=False, range=(-_STRIP, 0))
    return gui.add_uplot(
        (np.zeros(1), np.zeros(1)),
        (uplot.Series(label='s'), uplot.Series(label=title, stroke=color)),
        title=title,
        height=130,
        legend=uplot.Legend(show=False),
        scales={'x': axis, 'y': uplot.Scale()},
    )


def people_table(moment: Moment) -> str:
    """Who is there, as HTML: id, distance of the pelvis, standing height, state."""
    rows = ''.join(
        f'<tr data-id="{person.id}"><td style="color:rgb{color_of(person.id)}">&#9632; #{person.id}</td>'
        f'<td>{np.linalg.norm(person.joints[0]):.2f} m</td><td>{standing_height(moment.body, person.betas):.2f} m</td>'
        f'<td>{_STATES[TrackState(person.track_state)]}</td></tr>'
        for person in moment.people
    )
    head = '<tr><th>person</th><th>distance</th><th>height</th><th>state</th></tr>'
    return f'<table id="cliff-people" style="width:100%;text-align:left;padding:0 1em">{head}{rows}</table>'

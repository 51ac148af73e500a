"""Shows what it is given to whoever looks, and keeps nobody waiting: the newest wins, in a thread of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from threading import Condition, Thread

from cliff_ros.render.overlay import draw_people
from cliff_ros.render.privacy import OFF, covered, sentence, stricter
from cliff_ros.view.control import Control
from cliff_ros.view.moment import Moment
from cliff_ros.view.panel import Panel
from cliff_ros.view.scene import Scene
from cliff_ros.view.server import LOCALHOST, PORT, Server

logger = logging.getLogger(__name__)


class Viewer:
    """A page with people. A context manager; ``url`` says where.

    host, port, token: see `Server`. sources: names of the cameras that visitors may choose from, if there are several;
    ``control.source`` is the one they chose.
    privacy: what is covered in every image (`cliff_ros.render.privacy`), at least; a moment may ask for more.
    width: of the picture in the page [px]. rate: most images a second that are drawn.
    """

    def __init__(
        self,
        host: str = LOCALHOST,
        port: int = PORT,
        token: str = '',
        *,
        sources: Sequence[str] = ('camera',),
        privacy: str = OFF,
        width: int = 960,
        rate: float = 30.0,
    ) -> None:
        self.control = Control()
        self.drawn = 0  # looks since the beginning
        self._server = Server(host, port, token)
        self._width, self._period = width, 1 / rate
        self._changed = Condition()
        self._moment: Moment | None = None
        self._fresh = self._closed = False
        self._scene = Scene(self._server.viser.scene)
        self._panel = Panel(self._server.viser, self._scene, self.control, sources)
        self._privacy = privacy
        self._server.on_watchers(self._watchers_changed)
        self._thread = Thread(target=self._run, name='view', daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address, with the token if visitors need one."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port that is listened on, which may be another than the one asked for."""
        return self._server.port

    @property
    def watched(self) -> bool:
        """Whether anybody looks; where nobody does, `show` only notes the moment."""
        return self.control.watched

    def show(self, moment: Moment) -> None:
        """Show this moment next, instead of any other that still waits. Returns at once."""
        with self._changed:
            self._moment, self._fresh = moment, True
            if self.control.wants:
                self._changed.notify()

    def say(self, text: str) -> None:
        """A line in the page."""
        self._panel.say(text)

    def look_from(self, view: str) -> None:
        """Move every visitor's eye to one of ``panel.VIEWS``."""
        self._panel.look_from(view)

    def clear(self) -> None:
        """Nobody is there any more: another camera comes."""
        with self._changed:
            self._moment, self._fresh = None, True
            self._changed.notify()

    def close(self) -> None:
        """Stop drawing (waits up to 5 s for the image at hand), let go of whoever waits, and stop the server."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.control.close()
        self._thread.join(5.0)
        self._server.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _watchers_changed(self) -> None:
        self.control.watch(self._server.watchers > 0)
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        said: type[Exception] | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._due())
                if self._closed:
                    return
                moment, self._fresh = self._moment, False
            if moment is None:
                self._scene.clear()
                continue
            if not self.control.take():
                continue
            started = time.monotonic()
            try:
                self._draw(moment)
            except Exception as error:
                if type(error) is not said:  # once, not with every image
                    logger.exception('an image could not be shown')
                said = type(error)
            time.sleep(max(0.0, self._period - (time.monotonic() - started)))

    def _due(self) -> bool:
        return self._fresh and (self._moment is None or self.control.wants)

    def _draw(self, moment: Moment) -> None:
        image, picture = None, None
        if moment.image is not None:
            small = moment.shrunk(self._width).with_vertices()
            assert small.image is not None
            mode = stricter(self._privacy, moment.privacy)
            image = covered(small.image, small.people, small.camera, mode)
            picture = draw_people(image, small.people, small.camera, moment.body.faces)
        with self._server.viser.atomic():  # picture and meshes of one moment
            self._scene.update(moment, image)
            self._panel.update(moment, picture, sentence(stricter(self._privacy, moment.privacy)))
        self.drawn += 1

"""What visitors may steer: when the picture stands still, and which camera is shown. Nothing outside of the page."""

from __future__ import annotations

from threading import Condition


class Control:
    """Shared by the page's callbacks and whoever shows something. All methods are for any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._paused, self._steps, self._source = False, 0, 0
        self._watched, self._closed = False, False

    @property
    def paused(self) -> bool:
        """Whether the picture stands still."""
        return self._paused

    @property
    def source(self) -> int:
        """Which of the cameras is chosen."""
        return self._source

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return self._watched

    def watch(self, watched: bool) -> None:
        """Note whether anybody looks; who waits is woken."""
        with self._changed:
            self._watched = watched
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Let the picture stand still, or go on; a step that was not shown yet is dropped."""
        with self._changed:
            self._paused, self._steps = paused, 0
            self._changed.notify_all()

    def step(self) -> None:
        """Show one more image, and stand still."""
        with self._changed:
            self._paused, self._steps = True, 1
            self._changed.notify_all()

    def choose(self, source: int) -> None:
        """Show this camera, an index into the viewer's ``sources``; who waits for another one is let go."""
        with self._changed:
            self._source = source
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def wants(self) -> bool:
        """Whether the next image is to be shown."""
        return self._watched and (not self._paused or self._steps > 0)

    def take(self) -> bool:
        """Whether to show the image at hand; one step is used up by that."""
        with self._changed:
            if not self.wants:
                return False
            self._steps = max(0, self._steps - 1)
            self._changed.notify_all()
            return True

    def wait(self, source: int, seconds: float | None = None) -> bool:
        """Until an image is wanted from this camera; False where another one is, or none ever again, or time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self.wants or self._closed or self._source != source, seconds)
            return self.wants and not self._closed and self._source == source

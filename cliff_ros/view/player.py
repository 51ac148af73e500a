"""Plays a source of images through the pipeline into a viewer, at the pace of its stamps, while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from cliff_ros.people import Frame
from cliff_ros.pipeline import Pipeline
from cliff_ros.sources import Source
from cliff_ros.view.moment import Moment
from cliff_ros.view.viewer import Viewer

_BEHIND = 0.5  # [s] from which on lost time is not caught up
_POLL = 0.5  # [s] between looks at whether to stop
_PATIENCE = 2.0  # [s] at most for one image to be drawn


class Player:
    """One of a viewer's cameras: a video, a folder, a device or a synthetic scene.

    While nobody looks, or the page stands still, it waits: no image is read. number: the camera's in the viewer.
    """

    def __init__(self, source: Source, pipeline: Pipeline, number: int = 0) -> None:
        self._source, self._pipeline, self._number = source, pipeline, number
        self._frames = iter(source)
        self._received = 0

    def play(self, viewer: Viewer, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Until another camera is chosen, or ``stopped``: True; False where there is no further image."""
        began, first = time.monotonic(), None
        while not stopped() and viewer.control.source == self._number:
            if not viewer.control.wait(self._number, _POLL):
                first = None
                continue
            frame = next(self._frames, None)
            if frame is None:
                return False
            self._received += 1
            if first is None:
                began, first = time.monotonic(), frame.stamp
            started = time.perf_counter()
            people = self._pipeline(frame, vertices=False)
            latency = 1e3 * (time.perf_counter() - started)
            drawn = viewer.drawn
            viewer.show(
                Moment(
                    frame.camera, people, self._pipeline.body, _rgb(frame), frame.stamp, latency, people.timings,
                    f'{self._received} images',
                )
            )  # fmt: skip
            if viewer.control.paused:  # one step is one image: not the next before this one is seen
                _until_drawn(viewer, drawn, stopped)
                first = None
                continue
            ahead = frame.stamp - first - (time.monotonic() - began)
            if self._source.live:
                continue
            if ahead < -_BEHIND:
                first = None
            elif ahead > 0:
                time.sleep(ahead)
        return True

    def close(self) -> None:
        """Release the source."""
        self._source.close()


def _rgb(frame: Frame) -> np.ndarray:
    return frame.image if frame.order == 'rgb' else np.ascontiguousarray(frame.image[..., ::-1])


def _until_drawn(viewer: Viewer, before: int, stopped: Callable[[], bool]) -> None:
    """Until the viewer drew more than ``before``, as long as somebody looks."""
    end = time.monotonic() + _PATIENCE
    while viewer.drawn <= before and viewer.watched and not stopped() and time.monotonic() < end:
        time.sleep(0.01)

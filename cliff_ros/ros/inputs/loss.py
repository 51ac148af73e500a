"""Images that get lost on the way are told from a camera that sends none: who lost them, and what helps.

The middleware counts what it lost, by gaps in its sequence numbers; where it does not, gaps in the stamps of a camera
that sends at a steady rate say the same. When nothing arrives at all, CameraInfo that does shows that the camera runs.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rclpy.utilities import get_rmw_implementation_identifier

from cliff_ros.ros.runtime.middleware import profile_variable

if TYPE_CHECKING:
    from cliff_ros.ros.inputs.delivery import Delivery
    from cliff_ros.ros.inputs.subscriptions import Inputs

_WINDOW = 5.0  # [s] over which losses count
_TOO_MANY = 0.05  # of what was sent
_AT_LEAST = 3  # images: one or two get lost when a publisher comes
_OFF_BEAT = 0.15  # of a period, by which stamps of a steady camera may be early or late
_STEADY = 0.8  # of all stamps that must keep to it
_FEW = 8  # stamps that say nothing of a rate yet
_LIKE_A_CAMERA = 1.0  # [Hz] CameraInfo that comes more often belongs to images


class Losses:
    """What arrived lately: the stamps of images and of CameraInfo, (seconds, nanoseconds)."""

    def __init__(self) -> None:
        self.size = 0  # [bytes] of the latest image message
        self._images: deque[tuple[float, float]] = deque(maxlen=2000)  # when it arrived, its stamp [s]
        self._infos: deque[tuple[float, float]] = deque(maxlen=2000)
        self._told: deque[tuple[float, int]] = deque(maxlen=200)

    def image(self, stamp: tuple[int, int], size: int) -> None:
        """An image of ``size`` bytes arrived just now; its stamp is (seconds, nanoseconds)."""
        self.size = size
        self._images.append((time.monotonic(), stamp[0] + stamp[1] * 1e-9))

    def info(self, stamp: tuple[int, int]) -> None:
        """A CameraInfo arrived just now; its stamp is (seconds, nanoseconds)."""
        self._infos.append((time.monotonic(), stamp[0] + stamp[1] * 1e-9))

    def recent(self, told: int | None) -> tuple[int, int]:
        """(images lost, images sent) in the last seconds.

        told: how many the middleware has counted as lost so far; None where it does not count.
        """
        stamps = _since(self._images, time.monotonic() - _WINDOW)
        if told is None:
            lost = missing(stamps)
        else:
            now = time.monotonic()
            self._told.append((now, told))
            while self._told[0][0] < now - _WINDOW and len(self._told) > 1:
                self._told.popleft()
            lost = max(0, told - self._told[0][1])
        return lost, lost + len(stamps)

    def info_rate(self, since: float) -> float:
        """CameraInfo a second, lately and since a moment (time.monotonic()); 0 where only one came."""
        now = time.monotonic()
        since = max(since, now - _WINDOW)
        return max(0, len(_since(self._infos, since)) - 1) / max(now - since, 0.1)


def missing(stamps: Sequence[float]) -> int:
    """How many images are missing between the stamps [s] of a camera with a steady rate; 0 where it has none."""
    steps = np.diff(np.asarray(stamps, np.float64))
    if len(steps) < _FEW or steps.min() <= 0:
        return 0
    # The shortest step is the period, whatever is missing elsewhere, and off by a camera's jitter: so take all near it.
    period = np.median(steps[steps < 1.5 * steps.min()])
    beats = steps / period
    whole = np.maximum(1, np.round(beats))
    if (np.abs(beats - whole) <= _OFF_BEAT).mean() < _STEADY:
        return 0
    return int((whole - 1).sum())


def check_losses(inputs: Inputs, complain: Callable[[str, str], None]) -> None:
    """Complain about images that get lost on their way. Call it now and then, from the executor's thread."""
    images = inputs.images
    lost, sent = inputs.losses.recent(images.lost)
    if lost >= _AT_LEAST and lost >= _TOO_MANY * sent:
        how = 'reliable delivery' if images.reliable else 'best effort'
        complain(
            'images lost',
            (
                f"{lost} of the last {sent} images on '{images.topic}' got lost on the way to this node "
                f'({inputs.losses.size / 1e6:.1f} MB each, {how}): {remedy(images)}.'
            ),
        )


def explain_silence(inputs: Inputs, publishers: str) -> str:
    """Why nothing comes from publishers who are there."""
    rate = inputs.losses.info_rate(inputs.last_image)  # what came before, came with images
    if rate < _LIKE_A_CAMERA:
        return (
            f'{publishers} publishes it but sends nothing; check that it runs, and that '
            f'`ros2 topic hz {inputs.images.topic}` sees images.'
        )
    return (
        f'{publishers} publishes it, and CameraInfo arrives {rate:.0f} times a second, but no image does: they get '
        f'lost on the way, or it sends none. Images are large: {remedy(inputs.images)}.'
    )


def remedy(images: Delivery) -> str:
    """What whoever runs this can do, as the end of a sentence."""
    more = (
        f'give the process that sends them more shared memory, by starting it with {profile_variable(os.environ)} '
        "set to cliff_ros's config/fastdds.xml"
        if 'fastrtps' in get_rmw_implementation_identifier()
        else "give the middleware larger buffers (the kernel's net.core.rmem_max, and its own configuration)"
    )
    if images.reliable:
        return f'the way is too narrow for them; {more}, or send them compressed (image_transport)'
    if images.fixed_by:
        return f'leave out the parameter {images.fixed_by}, so that they are sent again where they can be; or {more}'
    return f'let their publisher offer reliable delivery, this node then asks for it; or {more}'


def _since(arrivals: Sequence[tuple[float, float]], when: float) -> list[float]:
    return [stamp for arrived, stamp in list(arrivals) if arrived >= when]

"""Stamps of images that are no times of a camera: standing, going back, from the future."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock


class StampWatch:
    """Complains of stamps with which people cannot be followed, or be placed among what others say."""

    STANDING = 3  # images in a row with one stamp: two may be one that came twice
    AHEAD = 10.0  # [s] of our clock; behind it may be a recording

    def __init__(self, topic: str, clock: Clock, complain: Callable[[str, str], None]) -> None:
        self._topic = topic
        self._clock = clock
        self._complain = complain
        self._last = -1  # [ns]
        self._standing = 1

    def __call__(self, stamp: tuple[int, int]) -> None:
        """stamp: (seconds, nanoseconds) of the image that came now."""
        now, last = stamp[0] * 1_000_000_000 + stamp[1], self._last
        self._last = now
        if now > last:
            self._standing = 1
        elif now == last:
            self._standing += 1
            if self._standing >= self.STANDING:
                self._complain(
                    'stamps stand',
                    (
                        f"The stamps of the images on '{self._topic}' {'are zero' if now == 0 else 'stand still'}, so "
                        'nobody can be followed: have the camera driver set header.stamp to the time of each image.'
                    ),
                )
        else:
            self._standing = 1
            self._complain(
                'stamps back',
                (
                    f"The stamps of the images on '{self._topic}' went back by {(last - now) * 1e-9:.3f} s, so "
                    'everybody is forgotten: fine where a recording starts again; otherwise two cameras publish there, '
                    'or the clock of one was set.'
                ),
            )
        clock = self._clock.now().nanoseconds
        if clock and now > clock + self.AHEAD * 1e9:
            self._complain(
                'stamps ahead',
                (
                    f"The stamps of the images on '{self._topic}' are {(now - clock) * 1e-9:.0f} s ahead of this "
                    "node's clock: synchronize the machines' clocks (NTP, PTP), or set use_sim_time for a simulation."
                ),
            )

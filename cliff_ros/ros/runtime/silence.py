"""Reasons for silence besides missing images and CameraInfo: a clock that stands, boxes that fit no image."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import ROSClock
from rclpy.node import Node

from cliff_ros.ros.inputs.subscriptions import Inputs
from cliff_ros.ros.runtime.settings import CliffSettings

Complain = Callable[[str, str], None]


class ClockWatch:
    """Notices that simulated time does not go on."""

    def __init__(self, node: Node, complain: Complain, now: float) -> None:
        self._node = node
        self._complain = complain
        self._last = node.get_clock().now().nanoseconds, now  # what the clock shows, and since when

    def check(self, now: float, settings: CliffSettings) -> None:
        """now: time.monotonic()."""
        clock = self._node.get_clock()
        shown = clock.now().nanoseconds
        is_simulated = isinstance(clock, ROSClock) and clock.ros_time_is_active
        if not is_simulated or shown != self._last[0]:
            self._last = shown, now
        stands = now - self._last[1]
        if stands < settings.watchdog_timeout:
            return
        if self._node.count_publishers('/clock') == 0:
            self._complain(
                'no clock',
                (
                    'use_sim_time is true but nobody publishes /clock, so time stands still: start the simulation, '
                    'play the bag with --clock, or set use_sim_time to false.'
                ),
            )
        else:
            self._complain(
                'clock stands',
                (
                    f'The time on /clock has not moved for {stands:.0f} s: let the simulation or the bag go on, or set '
                    'use_sim_time to false.'
                ),
            )


def check_boxes(inputs: Inputs, settings: CliffSettings, complain: Complain, now: float) -> None:
    """Complain where images arrive but boxes do not, or only such as cannot be used. now: time.monotonic()."""
    topic, patience, detections = inputs.detections_topic, settings.watchdog_timeout, inputs.detections
    if now - (inputs.last_boxes or inputs.since) >= patience:
        complain(
            'no detections',
            (
                f"Images arrive but no boxes on '{topic}': start the detector, remap detections to its topic, or set "
                "detector to 'embedded'."
            ),
        )
    elif now - (inputs.last_match or inputs.since) >= patience:
        miss = inputs.nearest_miss
        # No larger value is accepted.
        remedy = 'have the detector copy header.stamp from the image' + (
            f', or set detections_tolerance to more than {miss:.3f}' if miss is not None and miss < 1.0 else ''
        )
        best = '' if miss is None else f' (the nearest are {miss:.3f} s apart)'
        complain('detections: stamps', f"Boxes arrive on '{topic}' but their stamps match no image{best}: {remedy}.")
    elif not detections.wanted_seen and detections.other_classes and now - inputs.since >= patience:
        complain(
            'detections: class',
            (
                f"Boxes arrive on '{topic}' but so far none of class {detections.class_id!r}, only of "
                f'{", ".join(detections.other_classes)}: set detections_class to the class of people, or to empty if '
                'every box is a person.'
            ),
        )

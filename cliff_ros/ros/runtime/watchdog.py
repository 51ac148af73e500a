"""Why is nothing happening? Looks at the graph and says it in one sentence, with the fix."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from cliff_ros.ros.inputs.loss import check_losses, explain_silence
from cliff_ros.ros.inputs.mailbox import Mailbox
from cliff_ros.ros.inputs.offers import type_name
from cliff_ros.ros.inputs.subscriptions import Inputs
from cliff_ros.ros.runtime.overload import Overload
from cliff_ros.ros.runtime.settings import CliffSettings
from cliff_ros.ros.runtime.silence import ClockWatch, check_boxes


class Watchdog:
    """Checks the inputs of the active node, and whether its worker keeps up with its mailbox."""

    def __init__(self, node: Node, inputs: Inputs, mailbox: Mailbox[Any], complain: Callable[[str, str], None]) -> None:
        self._node = node
        self._inputs = inputs
        self._complain = complain
        self._clock = ClockWatch(node, complain, time.monotonic())
        self._overload = Overload(mailbox, complain)

    def check(self, settings: CliffSettings) -> None:
        """Complain about what is missing. Call it now and then, from the executor's thread."""
        now, inputs = time.monotonic(), self._inputs
        self._clock.check(now, settings)
        check_losses(inputs, self._complain)
        self._overload.check(now)
        silence = now - inputs.last_image
        if silence >= settings.watchdog_timeout:
            self._complain(
                'no image',
                f"No image on '{inputs.image_topic}' for {silence:.0f} s: "
                + self._explain(inputs.image_topic, inputs.image_type, 'image'),
            )
        elif (
            inputs.received
            and not inputs.has_info
            and not settings.uncalibrated_fallback
            and now - inputs.since >= settings.camera_info_timeout
        ):
            self._complain(
                'no camera_info',
                (
                    f"Images arrive but no CameraInfo on '{inputs.info_topic}': "
                    + self._explain(inputs.info_topic, CameraInfo, 'camera_info')
                    + ' Or set uncalibrated_fallback to true, and live with wrong distances.'
                ),
            )
        elif inputs.pairs_came and inputs.last_info is not None and now - inputs.last_info >= settings.watchdog_timeout:
            self._complain(
                'camera_info stopped',
                (
                    f"Images arrive but for {now - inputs.last_info:.0f} s no CameraInfo on '{inputs.info_topic}': "
                    + self._explain(inputs.info_topic, CameraInfo, 'camera_info')
                    + ' Until then the last one is used; camera_info_max_age sets a limit to that.'
                ),
            )
        elif inputs.uses_detections and inputs.received:
            check_boxes(inputs, settings, self._complain, now)

    def _explain(self, topic: str, kind: type, name: str) -> str:
        wanted = type_name(kind)
        publishers = self._node.get_publishers_info_by_topic(topic)
        others = sorted({info.topic_type for info in publishers} - {wanted})
        if not publishers:
            topics = self._node.get_topic_names_and_types()
            there = ', '.join(sorted(name for name, types in topics if wanted in types and name != topic)[:5])
            found = f'; there is {there}' if there else f'; no topic of type {wanted} is there yet'
            return f'nobody publishes it; start the camera, or remap `{name}` to its topic{found}.'
        if others:
            return f'it carries {others[0]}, not {wanted}: ' + (
                "set image_transport to 'compressed'."
                if 'Compressed' in others[0]
                else "set image_transport to 'raw'."
                if others[0] == 'sensor_msgs/msg/Image'
                else f'remap `{name}` to a topic of that type.'
            )
        if name == 'image':
            return explain_silence(self._inputs, publishers[0].node_name)
        return f'{publishers[0].node_name} publishes it but sends nothing; check that it runs.'

"""Another node of our name: services are answered by either, and people of two cameras mix on one topic."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node


class Namesakes:
    """Notices nodes of the same full name.

    A process that was killed stays in the graph until its lease ends (20 s): whom we find there when we start may be
    our predecessor, and has ``LEASE`` [s] to go. Whoever comes later lives.
    """

    STARTING, LEASE = 5.0, 25.0
    PERIOD = 1.0  # [s] between looks at the graph, which may be large

    def __init__(self, node: Node, complain: Callable[[str, str], None]) -> None:
        self._node = node
        self._complain = complain
        self._since = time.monotonic()
        self._at_start = 1
        self._due = 0.0

    def check(self) -> None:
        """Complain about them. Call it now and then, from the executor's thread."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self.PERIOD
        name, namespace = self._node.get_name(), self._node.get_namespace()
        count = sum(other == (name, namespace) for other in self._node.get_node_names_and_namespaces())
        if count > 1:
            # The name of one that is gone may stay in the graph for ever (seen with Fast DDS), its publishers do not.
            found = self._node.get_publishers_info_by_topic('/parameter_events')
            count = min(count, sum((one.node_name, one.node_namespace) == (name, namespace) for one in found))
        age = now - self._since
        if age < self.STARTING:
            self._at_start = max(self._at_start, count)
        if count <= (self._at_start if age < self.LEASE else 1):
            return
        full = self._node.get_fully_qualified_name()
        others = 'another node' if count == 2 else f'{count - 1} other nodes'
        self._complain(
            'same name',
            (
                f"There is {others} of the name '{full}', so both answer its services and publish on its topics: end "
                'one, or start it in a namespace of its own (namespace:=left with the launch files, --ros-args -r '
                '__ns:=/left with `ros2 run`).'
            ),
        )

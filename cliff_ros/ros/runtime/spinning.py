"""Spinning on, whatever rclpy raises: what cannot be taken or answered must not end the process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

Complain = Callable[[str, str], None]


def spin_once(executor: SingleThreadedExecutor, node: Node, complain: Complain, seconds: float) -> None:
    """Serve one callback of the node, waiting at most so long for one.

    Callbacks guard themselves (guard.py). But rclpy also raises where it turns a request of a service into Python, and
    where an answer cannot be sent: that is complained of. Raises ExternalShutdownException, and what is raised after
    the context has gone.
    """
    try:
        executor.spin_once(timeout_sec=seconds)
    except ExternalShutdownException:
        raise
    except Exception as error:
        if not node.context.ok():
            raise
        _wait_again(node)
        complain(
            f'not taken: {type(error).__name__}',
            (
                f'Something that was sent to this node, or its answer, was lost ({type(error).__name__}: {error}): '
                'check who calls its services, and that all use the same messages and middleware.'
            ),
        )


def _wait_again(node: Node) -> None:
    """Have the executor look again at what it was about to take; rclpy forgets to, and its whole group stays out."""
    entity: Any  # of kinds that share these attributes, which rclpy does not declare
    for entity in chain(node.services, node.subscriptions, node.clients, node.timers, node.guards, node.waitables):
        if getattr(entity, '_executor_event', False):
            entity._executor_event = False
            if entity.callback_group is not None:
                with suppress(AssertionError, KeyError):  # it had not begun
                    entity.callback_group.ending_execution(entity)

"""Waiting inside of a callback without keeping the node's other callbacks waiting."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from cliff_ros.ros.runtime.spinning import Complain, spin_once
from cliff_ros.signals import StopRequest

Result = TypeVar('Result')


class Abandoned(Exception):
    """The process was told to end while it waited."""


def serve_until_done(node: Node, future: Future[Result], stop: StopRequest, complain: Complain) -> Result:
    """The result, or exception, of what another thread works on; the node's callbacks run in the meantime.

    For callbacks that legitimately take minutes, as configuring does while an engine is built. The node moves to an
    executor of its own until then, whichever it lives in: callbacks of the same mutually exclusive group as the one
    that waits stay out, all others are served in this thread. Raises Abandoned on a request to stop.
    """
    outer = node.executor
    inner = SingleThreadedExecutor(context=node.context)
    inner.add_node(node)
    future.add_done_callback(lambda _: inner.wake())
    try:
        while not future.done():
            spin_once(inner, node, complain, 0.1)
            if stop:
                raise Abandoned
    finally:
        if outer is None:
            inner.remove_node(node)
            node.executor = None  # type: ignore[assignment]  # its setter takes it
        else:
            outer.add_node(node)
        inner.shutdown()
    return future.result()

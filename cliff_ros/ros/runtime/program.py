"""ROS for as long as a program runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions

from cliff_ros.signals import StopRequest


@contextmanager
def ros(args: list[str] | None = None) -> Iterator[StopRequest]:
    """rclpy from here to the end of the block, which ends quietly when the context is shut down from outside.

    Yields what hears SIGINT and SIGTERM: rclpy's own handlers would take the context away before a node could clear up.
    args: of the command line; None: this process's. In the main thread.
    """
    stop = StopRequest().listen()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield stop
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()

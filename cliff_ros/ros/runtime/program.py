"""ROS for as long as a program runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions

from cliff_ros.errors import CliffError
from cliff_ros.signals import StopRequest

Made = TypeVar('Made')


class MiddlewareError(CliffError):
    """ROS or its middleware refuses to work."""


def made(make: Callable[[], Made]) -> Made:
    """What that makes. Raises MiddlewareError where the middleware does not let it."""
    try:
        return make()
    except RCLError as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        raise MiddlewareError(
            f'The middleware cannot make the node: {reason}. Check ROS_SECURITY_ENABLE and the other variables of SROS '
            '2, whether the middleware was built with security, and the names and remappings given.'
        ) from error


@contextmanager
def ros(args: list[str] | None = None) -> Iterator[StopRequest]:
    """rclpy from here to the end of the block, which ends quietly when the context is shut down from outside.

    Yields what hears SIGINT and SIGTERM: rclpy's own handlers would take the context away before a node could clear up.
    args: of the command line; None: this process's. In the main thread. Raises MiddlewareError.
    """
    stop = StopRequest().listen()
    made(lambda: rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO))
    try:
        yield stop
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()

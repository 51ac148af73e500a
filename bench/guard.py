"""What it costs a frame that nothing received is believed: `python -m bench.guard`.

All that happens to an image and its CameraInfo in the executor's thread, from the bytes to the mailbox, and the check
of the calibration in the worker: guarded callbacks, lengths, texts, stamps, pairing, bookkeeping. An upper bound of
what the guard costs, since pairing would be there without it. Prints median and 95th percentile of the CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
from time import thread_time_ns

import numpy as np
import rclpy
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from cliff_ros.camera import Camera
from cliff_ros.demo.processes import ros_environment
from cliff_ros.ros.camera_node import image_message, info_message
from cliff_ros.ros.inputs.calibration import Calibration
from cliff_ros.ros.inputs.subscriptions import Incoming, Inputs
from cliff_ros.ros.node import CliffNode
from cliff_ros.ros.runtime.settings import CliffSettings

BAR = 0.05  # [ms] a frame
PERIOD = 33_333_333  # [ns] of the camera


def measure(frames: int, size: tuple[int, int]) -> np.ndarray:
    """CPU time (frames,) [ms]."""
    node, settings, came = CliffNode(), CliffSettings(), []
    calibration = Calibration(settings, node.complain)
    inputs = Inputs(node, settings, came.append, node.complain)
    on_info, on_image = (node._guard('A message', call) for call in (inputs._on_info, inputs._on_image))
    width, height = size
    camera = Camera(width, height, np.array([[900.0, 0, width / 2], [0, 900.0, height / 2], [0, 0, 1]]), d=(0.1,) * 5)
    info, start = info_message(camera), node.get_clock().now().nanoseconds - frames * PERIOD
    pixels, spent = np.zeros((height, width, 3), np.uint8), np.empty(frames)
    image = bytearray(serialize_message(image_message(pixels, 'bgr8', Header(frame_id='camera'))))
    for i in range(frames):
        stamp = np.array(divmod(start + i * PERIOD, 1_000_000_000), np.int32)
        info.header = Header(frame_id='camera')
        info.header.stamp.sec, info.header.stamp.nanosec = map(int, stamp)
        image[4:12] = stamp.tobytes()
        raw_info, raw_image = serialize_message(info), bytes(image)
        before = thread_time_ns()
        on_info(raw_info)
        on_image(raw_image)
        incoming: Incoming = came.pop()
        calibration.camera(incoming.info, incoming.image.frame_id, size)
        spent[i] = 1e-6 * (thread_time_ns() - before)
    assert not came and not node.complain.all()
    node.destroy_node()
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=3000)
    parser.add_argument('--size', type=int, nargs=2, default=(1280, 720), metavar=('W', 'H'))
    args = parser.parse_args()
    os.environ.update(ros_environment())
    rclpy.init()
    spent = measure(args.frames, tuple(args.size))[args.frames // 10 :]
    median, p95 = np.percentile(spent, (50, 95)).round(4).tolist()
    print(json.dumps({'median_ms': median, 'p95_ms': p95, 'bar_ms': BAR, 'met': median <= BAR}))
    rclpy.try_shutdown()
    return int(median > BAR)


if __name__ == '__main__':
    raise SystemExit(main())

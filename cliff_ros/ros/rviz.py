"""RViz with our view of the people of one node: its topics, and the frame of its images.

    ros2 run cliff_ros rviz --node /robot/cliff

A fixed frame that nobody publishes shows nothing, and the frame of the images is known with the first answer to one: so
this waits for that, writes a configuration from the shipped one, and becomes RViz.
"""

from __future__ import annotations

from cliff_ros import signals

if __name__ == '__main__':
    signals.end_at_once(0)  # to the end: nothing here needs clearing up, and RViz has answers of its own

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

_TEMPLATE_NODE = '/cliff'  # whose topics the shipped configuration shows
_REMINDER = 30.0  # [s] between lines that say what is waited for


def configuration(template: str, node: str, frame: str) -> str:
    """The text of an .rviz file.

    template: the text of config/cliff.rviz. node: full name of the node. frame: the fixed frame.
    """
    import yaml

    config = yaml.safe_load(template)
    manager = config['Visualization Manager']
    manager['Global Options']['Fixed Frame'] = frame
    for display in manager['Displays']:
        topic = display.get('Topic')
        if topic and topic['Value'].startswith(f'{_TEMPLATE_NODE}/'):
            topic['Value'] = node + topic['Value'].removeprefix(_TEMPLATE_NODE)
    return yaml.safe_dump(config, sort_keys=False)


def frame_of_images(node_name: str) -> str:
    """The frame of the images that a node answers; waits for the first answer."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from rclpy.signals import SignalHandlerOptions

    from cliff_ros.msg import SmplArray

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('cliff_rviz')
    frames: list[str] = []
    try:
        node.create_subscription(
            SmplArray,
            f'{node_name}/people',
            lambda message: frames.append(message.header.frame_id),
            qos_profile_sensor_data,
        )
        said = -_REMINDER
        while not any(frames):
            if time.monotonic() - said >= _REMINDER:
                said = time.monotonic()
                node.get_logger().info(
                    f"RViz waits for the first message on {node_name}/people, which names the camera's frame."
                )
            rclpy.spin_once(node, timeout_sec=0.2)
        return next(filter(None, frames))
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def main(args: list[str] | None = None) -> int:
    """Write the configuration and become RViz, which gets all other options; exit status 1 if it is not there."""
    parser = argparse.ArgumentParser(prog='rviz', description=__doc__.partition('\n')[0])
    parser.add_argument('--node', default='/cliff', help='full name of the node; default: %(default)s')
    parser.add_argument('--frame', default='', help='the fixed frame; default: that of the images')
    parser.add_argument('--program', default='rviz2', help='RViz; default: %(default)s')
    parser.add_argument('--template', type=Path, help='configuration; default: the shipped one')
    parser.add_argument('--folder', type=Path, help='where to write the configuration; default: a temporary one')
    options, others = parser.parse_known_args(args)
    template = options.template or shipped()
    program = shutil.which(options.program)
    if program is None:
        print(f'There is no program {options.program}: install the package rviz2.', file=sys.stderr)
        return 1
    text = configuration(
        template.read_text(encoding='utf-8'), options.node, options.frame or frame_of_images(options.node)
    )
    config = (options.folder or Path(tempfile.mkdtemp(prefix='cliff_ros_'))) / 'cliff.rviz'
    config.write_text(text, encoding='utf-8')
    os.execv(program, [program, '-d', str(config), *others])
    return 1  # never: the process is RViz now


def shipped() -> Path:
    """The configuration ``cliff.rviz`` in the share folder of the installed package."""
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory('cliff_ros'), 'config', 'cliff.rviz')


if __name__ == '__main__':
    sys.exit(main())

"""A camera that plays the synthetic sequence, or a file, with the node `cliff` on it; RViz where installed.

    ros2 launch cliff_ros demo.launch.py
    ros2 launch cliff_ros demo.launch.py source:=people.mp4 calibration:=camera_info.yaml
    ros2 launch cliff_ros demo.launch.py namespace:=left        # /left/camera and /left/cliff

All arguments of cliff.launch.py work here too.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, SetLaunchConfiguration
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from cliff_ros.ros.runtime.middleware import beside_the_network

CLIFF = Path(__file__).resolve().parent / 'cliff.launch.py'
TRUE_OR_FALSE = ['true', 'false', 'True', 'False']
FRAME = 'camera_optical_frame'
# Arguments of cliff.launch.py with another default here.
OTHER_DEFAULTS = ('image', 'camera_info', 'namespace', 'rviz', 'rviz_frame', 'use_sim_time')


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'source',
                default_value='synthetic',
                description="what the camera plays: 'synthetic[:seed]', a video file, a folder of images, or a device",
            ),
            DeclareLaunchArgument(
                'calibration', default_value='', description='camera_info YAML of a real source; empty: a guess'
            ),
            DeclareLaunchArgument('rate', default_value='0.0', description='images per second; 0: as the source says'),
            DeclareLaunchArgument('seconds', default_value='20.0', description='length of the synthetic sequence'),
            DeclareLaunchArgument('width', default_value='1280', description='of the synthetic images [px]'),
            DeclareLaunchArgument('height', default_value='720', description='of the synthetic images [px]'),
            DeclareLaunchArgument(
                'loop', default_value='true', choices=TRUE_OR_FALSE, description='start over at the end of the source'
            ),
            DeclareLaunchArgument('namespace', default_value='', description='namespace of both nodes'),
            DeclareLaunchArgument(
                'image',
                default_value='camera/image_raw',
                description="topic of the images; the camera's, unless another is to be heard",
            ),
            DeclareLaunchArgument(
                'camera_info',
                default_value='camera/camera_info',
                description="topic of the calibration; the camera's, unless another is to be heard",
            ),
            DeclareLaunchArgument(
                'rviz',
                default_value='auto',
                choices=[*TRUE_OR_FALSE, 'auto'],
                description='show the people in RViz; auto: where it is installed',
            ),
            DeclareLaunchArgument(
                'rviz_frame', default_value='', description="RViz's fixed frame; empty: the camera's"
            ),
            DeclareLaunchArgument(
                'use_sim_time', default_value='false', choices=TRUE_OR_FALSE, description='take the time from /clock'
            ),
            OpaqueFunction(function=camera),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(CLIFF)),
                launch_arguments={name: LaunchConfiguration(name) for name in OTHER_DEFAULTS}.items(),
            ),
        ]
    )


def camera(context: LaunchContext) -> list:
    """The camera, with a frame of its own in a namespace of its own, as two cameras on a robot have."""

    def parameter(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    namespace = LaunchConfiguration('namespace').perform(context)
    frame = '/'.join([*filter(None, namespace.split('/')), FRAME])
    folder = tempfile.mkdtemp(prefix='cliff_ros_')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return [
        SetLaunchConfiguration('rviz_frame', LaunchConfiguration('rviz_frame').perform(context) or frame),
        Node(
            package='cliff_ros',
            executable='camera_node',
            name='camera',
            namespace=namespace,
            output='screen',
            additional_env=beside_the_network(dict(os.environ), Path(folder)),
            parameters=[
                {
                    'frame_id': frame,
                    **{
                        name: parameter(name, kind)
                        for name, kind in (
                            ('source', str),
                            ('calibration', str),
                            ('rate', float),
                            ('seconds', float),
                            ('width', int),
                            ('height', int),
                            ('loop', bool),
                            ('use_sim_time', bool),
                        )
                    },
                }
            ],
        ),
    ]

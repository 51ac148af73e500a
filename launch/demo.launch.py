"""A camera that plays the synthetic sequence, or a file, with the node `cliff` on it; RViz where installed.

    ros2 launch cliff_ros demo.launch.py
    ros2 launch cliff_ros demo.launch.py source:=people.mp4 calibration:=camera_info.yaml
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CLIFF = Path(__file__).resolve().parent / 'cliff.launch.py'


def generate_launch_description() -> LaunchDescription:
    def parameter(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    return LaunchDescription([
        DeclareLaunchArgument('source', default_value='synthetic',
                              description="what the camera plays: 'synthetic[:seed]', a video file, "
                                          'a folder of images, or a device'),
        DeclareLaunchArgument('calibration', default_value='',
                              description='camera_info YAML of a real source; empty: a guess'),
        DeclareLaunchArgument('rate', default_value='0.0',
                              description='images per second; 0: as the source says'),
        DeclareLaunchArgument('seconds', default_value='20.0',
                              description='length of the synthetic sequence'),
        DeclareLaunchArgument('loop', default_value='true', choices=['true', 'false'],
                              description='start over at the end of the source'),
        DeclareLaunchArgument('rviz', default_value='auto', choices=['true', 'false', 'auto'],
                              description='show the people in RViz; auto: where it is installed'),
        Node(package='cliff_ros', executable='camera_node', name='camera', output='screen',
             parameters=[{'source': parameter('source', str), 'calibration': parameter('calibration', str),
                          'rate': parameter('rate', float), 'seconds': parameter('seconds', float),
                          'loop': parameter('loop', bool)}]),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(CLIFF)),
                                 launch_arguments={'rviz': LaunchConfiguration('rviz')}.items()),
    ])

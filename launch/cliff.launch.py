"""The node `cliff` on a camera, brought to active; RViz if asked for.

    ros2 launch cliff_ros cliff.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

CONFIG = Path(__file__).resolve().parents[1] / 'config'

# Arguments that are parameters of the node too. Empty leaves the choice to params_file.
OVERRIDES = {
    'model': "network: 'embedded', or the path of an exported .onnx file",
    'body': "body model: 'embedded', or the path of an SMPL file",
    'engine': 'what runs the network',
    'detector': "who finds people: 'embedded', the path of a YOLO-like .onnx file, or 'topic'",
}
ENGINES = ['', 'auto', 'onnx', 'tensorrt', 'torch']


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument('image', default_value='/camera/image_raw',
                              description='topic of the images (sensor_msgs/Image)'),
        DeclareLaunchArgument('camera_info', default_value='/camera/camera_info',
                              description='topic of the calibration (sensor_msgs/CameraInfo)'),
        DeclareLaunchArgument('detections', default_value='detections',
                              description='topic of boxes from elsewhere (vision_msgs/Detection2DArray), '
                                          'with detector:=topic'),
        DeclareLaunchArgument('params_file', default_value=str(CONFIG / 'cliff.yaml'),
                              description='parameters of the node'),
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
        *(DeclareLaunchArgument(name, default_value='', description=f'{text}; empty: as params_file says',
                                choices=ENGINES if name == 'engine' else None)
          for name, text in OVERRIDES.items()),
        DeclareLaunchArgument('autostart', default_value='true', choices=['true', 'false'],
                              description='configure and activate the node; false leaves that to you'),
        DeclareLaunchArgument('rviz', default_value='false', choices=['true', 'false', 'auto'],
                              description='show the people in RViz; auto: where it is installed'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='take the time from /clock, as with a bag or a simulator'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='how much the node logs'),
        OpaqueFunction(function=start),
    ])


def start(context: LaunchContext) -> list:
    """The actions, now that the arguments have values."""
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    full_name = '/'.join(['', *filter(None, argument('namespace').split('/')), 'cliff'])
    logger = full_name[1:].replace('/', '.')
    sim_time = {'use_sim_time': argument('use_sim_time') == 'true'}
    overrides = {name: argument(name) for name in OVERRIDES if argument(name)}
    # The launch file asks for the transitions, so that it can tell what became of them.
    overrides['autostart'] = False
    node = LifecycleNode(
        package='cliff_ros', executable='cliff_node', name='cliff', namespace=argument('namespace'),
        output='screen', parameters=[argument('params_file'), sim_time | overrides],
        remappings=[(topic, argument(topic)) for topic in ('image', 'camera_info', 'detections')],
        arguments=['--ros-args', '--log-level', f'{logger}:={argument("log_level")}'])
    actions = [node, *(bring_up(node, full_name) if argument('autostart') == 'true' else [])]
    if argument('rviz') != 'false':
        actions += rviz(required=argument('rviz') == 'true', parameters=[sim_time])
    return actions


def bring_up(node: LifecycleNode, name: str) -> list:
    """Configure the node, activate it when it is configured, and say so if either fails."""
    def request(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(
            lifecycle_node_matcher=matches_action(node), transition_id=transition))

    def on(start_state: str, goal_state: str, action) -> RegisterEventHandler:
        return RegisterEventHandler(OnStateTransition(
            target_lifecycle_node=node, start_state=start_state, goal_state=goal_state, entities=[action]))

    def failed(what: str, again: str) -> LogInfo:
        return LogInfo(msg=f'{name} could not be {what}: its log above says why. Correct that, then run '
                           f'`ros2 lifecycle set {name} {again}`.')

    return [
        # Handlers first: none of what the request sets off may be missed.
        on('configuring', 'inactive', request(Transition.TRANSITION_ACTIVATE)),
        on('activating', 'active', LogInfo(msg=f'{name} is active.')),
        on('configuring', 'unconfigured', failed('configured', 'configure')),
        on('activating', 'inactive', failed('activated', 'activate')),
        on('errorprocessing', 'unconfigured', failed('configured or activated', 'configure')),
        request(Transition.TRANSITION_CONFIGURE),
    ]


def rviz(required: bool, parameters: list) -> list:
    """RViz with our view of the people, or a line that says why there is none."""
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        hint = ': install it (package rviz2), or leave out rviz:=true' if required else ''
        return [LogInfo(msg=f'RViz is not installed; going on without it{hint}.')]
    return [Node(package='rviz2', executable='rviz2', arguments=['-d', str(CONFIG / 'cliff.rviz')],
                 parameters=parameters, output='log')]

"""The node `cliff` on a camera, brought to active; RViz if asked for.

ros2 launch cliff_ros cliff.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
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

from cliff_ros.ros.runtime import restarts
from cliff_ros.ros.runtime.middleware import beside_the_network

CONFIG = Path(__file__).resolve().parents[1] / 'config'

# Arguments that are parameters of the node too. Empty leaves the choice to params_file.
OVERRIDES = {
    'model': "network: 'embedded', or the path of an exported .onnx file",
    'body': "body model: 'embedded', or the path of an SMPL file",
    'engine': 'what runs the network',
    'detector': "who finds people: 'embedded', the path of a YOLO-like .onnx file, or 'topic'",
    'image_transport': "'raw', or 'compressed': then image is the topic IMAGE/compressed",
    'tf_prefix': "goes before smpl_<id> in names of frames, such as 'robot/'; 'auto': the namespace",
}
CHOICES = {'engine': ['', 'auto', 'onnx', 'tensorrt', 'torch'], 'image_transport': ['', 'raw', 'compressed']}
RESPAWN_DELAY = 1.0  # [s]; the node itself waits longer each time
TRUE_OR_FALSE = ['true', 'false', 'True', 'False']


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'image',
                default_value='/camera/image_raw',
                description='topic of the images (sensor_msgs/Image; with image_transport:=compressed '
                'its CompressedImage)',
            ),
            DeclareLaunchArgument(
                'camera_info',
                default_value='/camera/camera_info',
                description='topic of the calibration (sensor_msgs/CameraInfo)',
            ),
            DeclareLaunchArgument(
                'detections',
                default_value='detections',
                description='topic of boxes from elsewhere (vision_msgs/Detection2DArray), with detector:=topic',
            ),
            DeclareLaunchArgument(
                'params_file', default_value=str(CONFIG / 'cliff.yaml'), description='parameters of the node'
            ),
            DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
            *(
                DeclareLaunchArgument(
                    name, default_value='', description=f'{text}; empty: as params_file says', choices=CHOICES.get(name)
                )
                for name, text in OVERRIDES.items()
            ),
            DeclareLaunchArgument(
                'autostart',
                default_value='true',
                choices=TRUE_OR_FALSE,
                description='configure and activate the node; false leaves that to you',
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='true',
                choices=TRUE_OR_FALSE,
                description='start the node again when its process ends, and activate it again',
            ),
            DeclareLaunchArgument(
                'rviz',
                default_value='false',
                choices=[*TRUE_OR_FALSE, 'auto'],
                description='show the people in RViz; auto: where it is installed',
            ),
            DeclareLaunchArgument(
                'rviz_frame',
                default_value='',
                description="RViz's fixed frame, such as map; empty: the frame of the images, so RViz "
                'opens with the first of them',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=TRUE_OR_FALSE,
                description='take the time from /clock, as with a bag or a simulator',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=['debug', 'info', 'warn', 'error', 'fatal'],
                description='how much the node logs',
            ),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    """The actions, now that the arguments have values."""

    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    full_name = '/'.join(['', *filter(None, argument('namespace').split('/')), 'cliff'])
    logger = full_name[1:].replace('/', '.')
    sim_time = {'use_sim_time': is_true(argument('use_sim_time'))}
    overrides = {name: argument(name) for name in OVERRIDES if argument(name)}
    # The launch file asks for the transitions, so that it can tell what became of them.
    overrides['autostart'] = False
    topics = {topic: argument(topic) for topic in ('image', 'camera_info', 'detections')}
    if overrides.get('image_transport') == 'compressed' and not topics['image'].endswith('/compressed'):
        topics['image'] += '/compressed'  # as image_transport's own subscribers do
    folder = temporary_folder()
    node = LifecycleNode(
        package='cliff_ros',
        executable='cliff_node',
        name='cliff',
        namespace=argument('namespace'),
        output='screen',
        parameters=[params_file(argument('params_file')), sim_time | overrides],
        remappings=list(topics.items()),
        respawn=is_true(argument('respawn')),
        respawn_delay=RESPAWN_DELAY,
        additional_env=beside_the_network(dict(os.environ), folder)
        | restarts.environment(folder, bring_up=is_true(argument('autostart'))),
        arguments=['--ros-args', '--log-level', f'{logger}:={argument("log_level")}'],
    )
    actions = [node, *(bring_up(node, full_name) if is_true(argument('autostart')) else [])]
    wanted = argument('rviz').lower()
    if wanted != 'false':
        actions += rviz(full_name, argument('rviz_frame'), folder, required=wanted == 'true', parameters=[sim_time])
    return actions


def is_true(value: str) -> bool:
    return value.lower() == 'true'


def temporary_folder() -> Path:
    """A folder that is gone when the launch has ended."""
    folder = tempfile.mkdtemp(prefix='cliff_ros_')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def params_file(path: str) -> str:
    """The path. Raises RuntimeError, which ends the launch, where there is no such file."""
    if not Path(path).is_file():
        raise RuntimeError(
            f"params_file '{path}' is not there (looked for from {Path.cwd()}): copy "
            f'{CONFIG / "cliff.yaml"}, change it, and give its path.'
        )
    return path


def bring_up(node: LifecycleNode, name: str) -> list:
    """Configure the node, activate it when it is configured, and say so if either fails.

    Once: a process that was started again does so itself (restarts.py).
    """

    def request(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    def on(start_state: str, goal_state: str, action, once: bool = False) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start_state,
                goal_state=goal_state,
                entities=[action],
                handle_once=once,
            )
        )

    def failed(what: str, again: str) -> LogInfo:
        return LogInfo(
            msg=f'{name} could not be {what}: its log above says why. Correct that, then run '
            f'`ros2 lifecycle set {name} {again}`.'
        )

    return [
        # Handlers first: none of what the request sets off may be missed.
        on('configuring', 'inactive', request(Transition.TRANSITION_ACTIVATE), once=True),
        on('activating', 'active', LogInfo(msg=f'{name} is active.')),
        on('configuring', 'unconfigured', failed('configured', 'configure')),
        on('activating', 'inactive', failed('activated', 'activate')),
        on('errorprocessing', 'unconfigured', failed('configured or activated', 'configure')),
        request(Transition.TRANSITION_CONFIGURE),
    ]


def rviz(node: str, frame: str, folder: Path, required: bool, parameters: list) -> list:
    """RViz with our view of the people, or a line that says why there is none."""
    try:
        program = Path(get_package_prefix('rviz2'), 'lib', 'rviz2', 'rviz2')
    except PackageNotFoundError:
        hint = ': install it (package rviz2), or leave out rviz:=true' if required else ''
        return [LogInfo(msg=f'RViz is not installed; going on without it{hint}.')]
    actions = [
        Node(
            package='cliff_ros',
            executable='rviz',
            output='log',
            parameters=parameters,
            arguments=[
                '--program',
                str(program),
                '--template',
                str(CONFIG / 'cliff.rviz'),
                '--folder',
                str(folder),
                '--node',
                node,
                *(['--frame', frame] if frame else []),
            ],
        )
    ]
    if not frame:
        actions.append(
            LogInfo(
                msg=f'RViz opens when {node} has answered the first image, in its frame '
                '(rviz_frame:=FRAME: at once, in that frame).'
            )
        )
    return actions

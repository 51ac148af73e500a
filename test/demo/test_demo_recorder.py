"""The recorder as a process of its own, fed over DDS."""

import time

import numpy as np
import pytest

from cliff_ros.body import load_body
from cliff_ros.camera import Camera

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('cliff_ros.msg')

from geometry_msgs.msg import Point, Quaternion, TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from cliff_ros import assets
from cliff_ros.demo.draw import draw_recording
from cliff_ros.demo.processes import Processes, ros_environment
from cliff_ros.demo.recording import Recording
from cliff_ros.msg import Smpl, SmplArray, SmplInfo, Timing
from cliff_ros.ros.runtime.middleware import for_large_messages

FRAMES = 5
TURN = np.array([1.0, 0.0, 0.0, 0.0])  # half a turn about x, as x y z w: an upright body seen from the front


def body_message(header, camera):
    rotations = np.tile(np.eye(3), (1, 24, 1, 1))
    rotations[0, 0] = np.diag([1.0, -1.0, -1.0])
    translation = np.array([[0.1, 0.0, 3.0]])
    joints, vertices = load_body()(np.zeros((1, 10)), rotations, translation)
    pixels = camera.project(vertices[0])
    x0, y0, x1, y1 = np.concatenate([pixels.min(0), pixels.max(0)]).tolist()
    smpl = Smpl(
        header=header,
        id=3,
        score=0.75,
        box=[x0, y0, x1, y1],
        track_state=Smpl.TRACK_OK,
        betas=[0.0] * 10,
        translation=Vector3(x=0.1, z=3.0),
        joints=[Point(x=x, y=y, z=z) for x, y, z in joints[0].tolist()],
        joints2d=camera.project(joints[0]).reshape(-1).tolist(),
    )
    smpl.rotations[0] = Quaternion(**dict(zip('xyzw', TURN.tolist(), strict=True)))
    return smpl, joints[0]


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """A folder into which the recorder recorded five frames sent from here, and the joints that were sent."""
    folder = tmp_path_factory.mktemp('recording')
    camera = Camera.uncalibrated(320, 240)
    env = for_large_messages(ros_environment(), folder, 2_000_000)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=int(env['ROS_DOMAIN_ID']))
        node = rclpy.create_node('sender', context=context)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(SmplInfo, '/cliff/body', latched).publish(
        SmplInfo(model='m', engine='e', body='b', body_npz=assets.BODY.read_bytes())
    )
    publishers = {
        topic: node.create_publisher(kind, topic, 10)
        for topic, kind in {
            '/camera/truth': SmplArray,
            '/camera/camera_info': CameraInfo,
            '/camera/image_raw': Image,
            '/cliff/people': SmplArray,
            '/cliff/timing': Timing,
            '/tf': TFMessage,
            '/cliff/mesh': MarkerArray,
        }.items()
    }
    pixels = np.full((240, 320, 3), (200, 40, 90), np.uint8)
    try:
        with Processes(folder / 'logs', env) as processes:
            processes.start('recorder', ['-m', 'cliff_ros.demo.recorder', str(folder)])
            deadline = time.monotonic() + 60
            while not all(publisher.get_subscription_count() for publisher in publishers.values()):
                processes.check('recorder')
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(1.0)  # the recorder's side of the match: images are best effort, the first could be lost
            for n in range(FRAMES):
                header = Header(frame_id='camera_optical_frame')
                header.stamp.sec, header.stamp.nanosec = 100 + n, 500
                smpl, joints = body_message(header, camera)
                people = SmplArray(header=header, people=[smpl] * (n % 3))
                transform = TransformStamped(header=header, child_frame_id='smpl_3')
                transform.transform.translation.z = 3.0
                for topic, message in {
                    '/camera/camera_info': CameraInfo(
                        header=header,
                        width=320,
                        height=240,
                        k=camera.K.reshape(-1).tolist(),
                        distortion_model='plumb_bob',
                        d=[0.0] * 5,
                    ),
                    '/camera/image_raw': Image(
                        header=header, width=320, height=240, encoding='rgb8', step=960, data=pixels.tobytes()
                    ),
                    '/camera/truth': people,
                    '/cliff/people': people,
                    '/tf': TFMessage(transforms=[transform]),
                    '/cliff/timing': Timing(header=header, infer_ms=7.0, frames_processed=n + 1),
                    '/cliff/mesh': MarkerArray(markers=[Marker(header=header)] * (n % 3)),
                }.items():
                    publishers[topic].publish(message)
                time.sleep(0.05)
            while '"mesh": 5' not in processes.tail('recorder'):
                assert time.monotonic() < deadline, processes.tail('recorder')
                time.sleep(0.1)
            assert processes.stop('recorder', patience=30) == 0, processes.tail('recorder')
    finally:
        node.destroy_node()
        context.try_shutdown()
    return folder, Recording.load(folder), joints


def test_everything_that_was_sent_is_in_the_recording(recorded):
    _, recording, joints = recorded
    stamps = [(100 + n) * 10**9 + 500 for n in range(FRAMES)]
    assert recording.estimate.headers == [(stamp, 'camera_optical_frame') for stamp in stamps]
    assert recording.truth.headers == recording.estimate.headers
    assert [len(people) for people in recording.estimate.people] == [0, 1, 2, 0, 1]
    person = recording.estimate.people[1][0]
    assert (person.id, person.score, person.track_state.name) == (3, 0.75, 'OK')
    np.testing.assert_allclose(person.rotations[0], np.diag([1, -1, -1]), atol=1e-6)
    np.testing.assert_allclose(person.rotations[1:], np.tile(np.eye(3), (23, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(person.joints, joints, atol=1e-5)
    assert recording.tf_children == ['smpl_3'] * FRAMES
    np.testing.assert_allclose(recording.tf_translations, [[0, 0, 3]] * FRAMES)
    assert recording.mesh_markers.tolist() == [0, 1, 2, 0, 1]
    assert recording.mesh_stamps.tolist()[1] == 101 * 10**9 + 500
    assert recording.counters['frames_processed'] == FRAMES
    assert recording.info['model'] == 'm'
    assert recording.body_npz == assets.BODY.read_bytes()
    assert (recording.camera.width, recording.camera.f) == (320, 400.0)
    assert (recording.estimate.received > 10**18).all()


def test_a_consumer_rebuilds_and_draws_the_meshes(recorded, tmp_path):
    import cv2

    _, recording, _ = recorded
    assert draw_recording(recording, tmp_path, rate=5.0) == FRAMES
    capture = cv2.VideoCapture(str(tmp_path / 'overlay.mp4'))
    pictures = [capture.read()[1] for _ in range(FRAMES)]
    capture.release()
    # The image is plain: only where a body was rebuilt and drawn, its middle is not.
    plain = pictures[0][0, 0].astype(int)
    change = [np.abs(picture[100:140, 140:200] - plain).mean() for picture in pictures]
    assert change[0] < 5 and change[3] < 5 and min(change[1], change[2], change[4]) > 20
    assert cv2.imread(str(tmp_path / 'contact_sheet.png')) is not None

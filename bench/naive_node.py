"""The node that a good engineer would write first: the same job with the usual libraries, one after the other.

    cv_bridge's conversion -> whole image rectified -> detector -> crops -> CLIFF in PyTorch -> smplx
    -> messages filled field by field

What is usual is done well: one batch of all people, `torch.inference_mode`, PyTorch's own number of threads,
rectification tables made once, TF in one message, corners picked by numpy. The detector is ours in ONNX
Runtime, so that both nodes look at the same boxes. It neither tracks nor smooths.
"""

from __future__ import annotations

import cv2
import numpy as np
import rclpy
import smplx
import torch
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Quaternion, TransformStamped, Vector3
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from smplx.utils import Struct
from std_msgs.msg import ColorRGBA, Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

import cliff_ros
from cliff_ros import assets
from cliff_ros.body import JOINT_NAMES, PARENTS
from cliff_ros.crop.translation import full_translation
from cliff_ros.detect import load_detector
from cliff_ros.msg import Smpl, SmplArray


class NaiveCliff:
    """Image (H, W, 3) RGB and camera matrix to people, all in PyTorch and OpenCV."""

    def __init__(self, model: str, detector: str) -> None:
        self.model = cliff_ros.load_model(model)
        self.detector = load_detector(detector)
        with np.load(assets.BODY) as file:
            self.smpl = smplx.SMPL('embedded', data_struct=Struct(**file))
        self.faces = self.smpl.faces.astype(np.int64)
        self._maps: tuple | None = None

    def rectify(self, image: np.ndarray, K: np.ndarray, d: np.ndarray) -> np.ndarray:
        """The whole image without distortion."""
        if self._maps is None:
            size = image.shape[1::-1]
            self._maps = cv2.initUndistortRectifyMap(K, d, None, K, size, cv2.CV_16SC2)
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, K: np.ndarray) -> dict[str, np.ndarray]:
        """The people in a rectified image: scores (N,), boxes (N, 4), rotations (N, 24, 3, 3), betas (N, 10),
        translation (N, 3), joints (N, 24, 3), vertices (N, V, 3)."""
        found = self.detector(image)
        people = {
            'scores': np.array([box.score for box in found]),
            'boxes': np.array([box.xyxy for box in found]).reshape(-1, 4),
        }
        if not found:
            return people
        spec, f = self.model.spec, np.sqrt(K[0, 0] * K[1, 1])
        crops, location = [], []
        for x0, y0, x1, y1 in people['boxes']:
            cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
            size = spec.margin * max(y1 - y0, (x1 - x0) * spec.height / spec.width)
            crops.append(_crop(image, cx, cy, size, spec))
            location.append([(cx - K[0, 2]) / f, (cy - K[1, 2]) / f, size / f])
        location = torch.tensor(location, dtype=torch.float32)
        rotations, betas, camera = self.model(
            self.model.normalize(torch.from_numpy(np.stack(crops))), self.model.bbox_info(location)
        )
        translation = full_translation(camera, location)
        body = self.smpl(
            betas=betas, global_orient=rotations[:, :1], body_pose=rotations[:, 1:], transl=translation, pose2rot=False
        )
        return people | {
            'rotations': rotations.numpy(),
            'betas': betas.numpy(),
            'translation': translation.numpy(),
            'joints': body.joints[:, :24].numpy(),
            'vertices': body.vertices.numpy(),
        }


class NaiveNode(Node):
    """Topics as the real node's."""

    def __init__(self) -> None:
        super().__init__('cliff')
        self.cliff = NaiveCliff(
            self.declare_parameter('model', 'embedded').value, self.declare_parameter('detector', 'embedded').value
        )
        self.info: CameraInfo | None = None
        sensor = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.people = self.create_publisher(SmplArray, '~/people', 10)
        self.tf = self.create_publisher(TFMessage, '/tf', 100)
        self.mesh = self.create_publisher(MarkerArray, '~/mesh', 2)
        self.create_subscription(CameraInfo, 'camera_info', self._on_info, sensor)
        self.create_subscription(Image, 'image', self._on_image, sensor)

    def _on_info(self, message: CameraInfo) -> None:
        self.info = message

    def _on_image(self, message: Image) -> None:
        if self.info is None:
            return
        K, d = self.info.k.reshape(3, 3), np.array(self.info.d)
        image = self.cliff.rectify(to_rgb(message), K, d)
        people = self.cliff(image, K)
        self.people.publish(people_message(message.header, people, K, d))
        if people['scores'].size:
            self.tf.publish(transforms(message.header, people))
            self.mesh.publish(markers(message.header, people['vertices'], self.cliff.faces))


def to_rgb(message: Image) -> np.ndarray:
    """What cv_bridge's ``imgmsg_to_cv2(message, 'rgb8')`` does with a bgr8 image."""
    image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def people_message(header: Header, people: dict[str, np.ndarray], K: np.ndarray, d: np.ndarray) -> SmplArray:
    message = SmplArray(header=header)
    for i, (score, box) in enumerate(zip(people['scores'], people['boxes'], strict=True)):
        joints = people['joints'][i]
        pixels = cv2.projectPoints(joints.astype(np.float64), np.zeros(3), np.zeros(3), K, d)[0]
        message.people.append(
            Smpl(
                header=header,
                id=i + 1,
                score=float(score),
                box=box.astype(np.float32),
                track_state=Smpl.TRACK_OK,
                betas=people['betas'][i].tolist(),
                rotations=_quaternions(people['rotations'][i]),
                translation=_vector(people['translation'][i]),
                joints=[_point(joint) for joint in joints.tolist()],
                joints2d=pixels.astype(np.float32).reshape(-1),
            )
        )
    return message


def transforms(header: Header, people: dict[str, np.ndarray]) -> TFMessage:
    """Every joint in the axes of its parent."""
    message = TFMessage()
    for i, (rotations, joints) in enumerate(zip(people['rotations'], people['joints'], strict=True)):
        quaternions, world = _quaternions(rotations), rotations.copy()
        for joint, parent in enumerate(PARENTS):
            name, offset = f'smpl_{i + 1}', joints[joint]
            frame = TransformStamped(header=header)
            if parent >= 0:
                world[joint] = world[parent] @ rotations[joint]
                offset = world[parent].T @ (joints[joint] - joints[parent])
                frame.header = Header(stamp=header.stamp, frame_id=f'{name}/{JOINT_NAMES[parent]}' if parent else name)
            frame.child_frame_id = f'{name}/{JOINT_NAMES[joint]}' if joint else name
            frame.transform.translation = _vector(offset)
            frame.transform.rotation = quaternions[joint]
            message.transforms.append(frame)
    return message


def markers(header: Header, vertices: np.ndarray, faces: np.ndarray) -> MarkerArray:
    message = MarkerArray()
    for i, mesh in enumerate(vertices):
        marker = Marker(
            header=header,
            ns='smpl_mesh',
            id=i + 1,
            type=Marker.TRIANGLE_LIST,
            action=Marker.ADD,
            scale=Vector3(x=1.0, y=1.0, z=1.0),
            color=ColorRGBA(r=0.6, g=0.7, b=0.9, a=1.0),
            lifetime=Duration(nanosec=500_000_000),
        )
        marker.pose.orientation.w = 1.0
        marker.points = [_point(corner) for corner in mesh[faces.reshape(-1)].tolist()]
        message.markers.append(marker)
    return message


def _crop(image: np.ndarray, cx: float, cy: float, size: float, spec) -> np.ndarray:
    """(h, w, 3): the rectangle around a person, black outside the image."""
    half = size / 2 * np.array([spec.width / spec.height, 1.0])
    left, top = np.round((cx, cy) - half).astype(int)
    right, bottom = np.round((cx, cy) + half).astype(int)
    height, width = image.shape[:2]
    part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    part = cv2.copyMakeBorder(
        part, max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0), cv2.BORDER_CONSTANT
    )
    interpolation = cv2.INTER_AREA if spec.antialias else cv2.INTER_LINEAR
    return cv2.resize(part, (spec.width, spec.height), interpolation=interpolation)


def _quaternions(rotations: np.ndarray) -> list[Quaternion]:
    return [Quaternion(x=x, y=y, z=z, w=w) for x, y, z, w in Rotation.from_matrix(rotations).as_quat().tolist()]


def _vector(v: np.ndarray) -> Vector3:
    return Vector3(x=float(v[0]), y=float(v[1]), z=float(v[2]))


def _point(v: list[float]) -> Point:
    return Point(x=v[0], y=v[1], z=v[2])


def main() -> None:
    rclpy.init()
    node = NaiveNode()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()

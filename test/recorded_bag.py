"""A recorded bag of raw images, as a robot makes it: written by rosbags, with stamps that no float holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

START = 1_795_710_833_123_456_789


def stamps(count: int) -> list[int]:
    """[ns] of the images: ten a second, not quite even."""
    return [START + i * 100_000_003 for i in range(count)]


def write_bag(path: Path, images: list[np.ndarray], camera, frame_id: str = 'head_camera', ros1: bool = False) -> Path:
    """``/head/image_raw`` (rgb8) and ``/head/camera_info`` in a bag; returns what opens it."""
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)

    def make(kind: str, **fields):
        return store.types[kind](**fields)

    roi = make('sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    names = [name.upper() if ros1 else name for name in 'dkrp']
    P = np.column_stack([camera.K, np.zeros(3)])
    lens = dict(zip(names, (np.zeros(5), camera.K.ravel(), np.eye(3).ravel(), P.ravel()), strict=True))
    writer = Writer1(path) if ros1 else Writer2(path, version=8)
    with writer:
        topics = {}
        for topic, kind in (('/head/image_raw', 'Image'), ('/head/camera_info', 'CameraInfo')):
            topics[kind] = writer.add_connection(topic, f'sensor_msgs/msg/{kind}', typestore=store)
        for number, (stamp, image) in enumerate(zip(stamps(len(images)), images, strict=True)):
            seconds, rest = divmod(stamp, 10**9)
            time = make('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)
            header = make('std_msgs/msg/Header', stamp=time, frame_id=frame_id, **({'seq': number} if ros1 else {}))
            height, width = image.shape[:2]
            picture = make(
                'sensor_msgs/msg/Image', header=header, height=height, width=width, encoding='rgb8', is_bigendian=0,
                step=3 * width, data=np.ascontiguousarray(image).ravel(),
            )  # fmt: skip
            info = make(
                'sensor_msgs/msg/CameraInfo', header=header, height=height, width=width, distortion_model='plumb_bob',
                binning_x=0, binning_y=0, roi=roi, **lens,
            )  # fmt: skip
            for kind, message in (('CameraInfo', info), ('Image', picture)):
                serialize = store.serialize_ros1 if ros1 else store.serialize_cdr
                writer.write(topics[kind], stamp + 5_000_000, serialize(message, f'sensor_msgs/msg/{kind}'))
    return path


def read_bag(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Topic -> (log time [ns], bytes) of an MCAP file, by MCAP's own reader."""
    from mcap.reader import make_reader

    found: dict[str, list[tuple[int, bytes]]] = {}
    with open(path, 'rb') as file:
        for _, channel, message in make_reader(file).iter_messages():
            found.setdefault(channel.topic, []).append((message.log_time, message.data))
    return found


def decoded(path: Path, topic: str) -> list:
    """Messages of a topic, by Foxglove's decoder."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with open(path, 'rb') as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        return [message for *_, message in reader.iter_decoded_messages(topics=[topic])]

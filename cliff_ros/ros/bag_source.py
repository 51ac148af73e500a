"""Images of a recorded bag as a source, for `cliff view` and `cliff video`: rosbag2 (MCAP, SQLite), ROS 1; without ROS.

Read by rosbags. The image topic with the most messages is taken, or the one that is named; its CameraInfo is the one
beside it. Stamps are those of the headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.people import Frame
from cliff_ros.ros.inputs.images import to_array
from cliff_ros.sources import FOLDER_FPS, Source, camera_for

_IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_INFO = 'sensor_msgs/msg/CameraInfo'


def is_bag(path: Path) -> bool:
    """Whether a file or folder looks like a bag."""
    return path.suffix in ('.mcap', '.db3', '.bag') or (path / 'metadata.yaml').is_file()


class BagSource(Source):
    """path: of the bag; ``path:/topic`` names the images. camera_yaml: instead of the bag's CameraInfo.

    Raises InputError where there is no bag or no image in it, MissingExtra without rosbags.
    """

    def __init__(
        self, spec: str, camera_yaml: str | Path | None = None, fps: float | None = None, loop: bool = False
    ) -> None:
        name, _, topic = spec.partition(':/')
        self.path, self._wanted = Path(name).expanduser(), f'/{topic}' if topic else ''
        with self._reader() as reader:
            self._topic, count = self._find(reader)
            frame = next(self._frames(reader, None), None)
            if frame is None:
                raise InputError(f"No image of '{self._topic}' in '{self.path}' can be read: name another topic.")
            duration = (reader.duration or 0) * 1e-9
            if camera_yaml is None:
                self.camera = self._camera_in(reader, frame.image.shape[1], frame.image.shape[0])
            else:
                self.camera = camera_for(frame.image.shape[1], frame.image.shape[0], camera_yaml)
        super().__init__(count, loop)
        self.fps = fps or (count / duration if duration > 0 and count > 1 else FOLDER_FPS)

    def __iter__(self) -> Iterator[Frame]:
        past = 0.0  # what a bag that is played again adds to its stamps
        while True:
            last = None
            with closing(self._reader()) as reader:
                for frame in self._frames(reader, self.camera):
                    last = frame.stamp
                    yield Frame(frame.image, frame.camera, frame.stamp + past, frame.frame_id, frame.order)
                start = reader.start_time * 1e-9
            if not self._loop or last is None:
                return
            past += last - start + 1 / self.fps

    def _reader(self) -> Any:
        try:
            from rosbags.highlevel import AnyReader, AnyReaderError
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise MissingExtra('Reading a bag', 'record') from None
        try:
            # A bag of before Iron does not say what its messages look like.
            reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            reader.open()
        except (AnyReaderError, OSError, ValueError) as error:
            raise InputError(f"'{self.path}' is no bag that can be read ({error}).") from error
        return _Closing(reader)

    def _find(self, reader: Any) -> tuple[str, int]:
        counts: dict[str, int] = {}
        for connection in reader.connections:
            if connection.msgtype in _IMAGES:
                counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
        if self._wanted:
            if self._wanted not in counts:
                there = ', '.join(counts) or 'none'
                raise InputError(f"'{self.path}' has no images on '{self._wanted}': those there are {there}.")
            return self._wanted, counts[self._wanted]
        # Pictures that were drawn over are no input, if there are others.
        own = {topic: count for topic, count in counts.items() if '/overlay' not in topic} or counts
        if not own or not max(own.values()):
            raise InputError(f"There is no image in '{self.path}' (sensor_msgs Image or CompressedImage).")
        return max(own.items(), key=lambda item: item[1])

    def _frames(self, reader: Any, camera: Camera | None) -> Iterator[Frame]:
        """camera: None takes any, to look at the first image."""
        images = [one for one in reader.connections if one.topic == self._topic]
        for connection, _, raw in reader.messages(connections=images):
            message = reader.deserialize(raw, connection.msgtype)
            try:
                pixels, order = to_array(message)
            except InputError:
                self.missing += 1
                continue
            stamp = message.header.stamp
            self.stamp_ns = stamp.sec * 10**9 + stamp.nanosec  # of the frame that is given now, exactly
            height, width = pixels.shape[:2]
            yield Frame(
                np.ascontiguousarray(pixels),
                camera or Camera.uncalibrated(width, height),
                stamp.sec + 1e-9 * stamp.nanosec,
                message.header.frame_id,
                order,
            )

    def _camera_in(self, reader: Any, width: int, height: int) -> Camera:
        place = self._topic.rpartition('/')[0]
        infos = [one for one in reader.connections if one.msgtype == _INFO]
        beside = [one for one in infos if place.startswith(one.topic.rpartition('/')[0])]
        for connection, _, raw in reader.messages(connections=beside or infos) if infos else ():
            info = reader.deserialize(raw, connection.msgtype)
            return Camera.from_info(_InfoOf(info), False, (width, height))
        return camera_for(width, height, None)


class _InfoOf:
    """A CameraInfo with the names of ROS 2, also from ROS 1 (K, D, R, P)."""

    def __init__(self, info: Any) -> None:
        self._info = info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._info, name if hasattr(self._info, name) else name.upper())


class _Closing:
    """A reader that is closed in a ``with`` block, however it was opened."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def __enter__(self) -> _Closing:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

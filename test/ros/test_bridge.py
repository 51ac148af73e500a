"""Encodings that our own reader does not know, through cv_bridge: the real one where the distribution has it."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import numpy as np
import pytest

from cliff_ros.errors import InputError

messages = pytest.importorskip('sensor_msgs.msg', reason='needs the ROS 2 Python packages')
from cliff_ros.ros.inputs import bridge, images

HEIGHT, WIDTH = 6, 8
PICTURE = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)  # blue, green, red
KINDS = {'8U': 'u1', '8S': 'i1', '16U': 'u2', '16S': 'i2', '32S': 'i4', '32F': 'f4', '64F': 'f8'}


class StandIn:
    """What cv_bridge's CvBridge does in the two calls that are made here: its compiled half is not on PyPI."""

    def encoding_to_dtype_with_channels(self, encoding):
        if encoding in ('rgb8', 'bgr8'):
            return 'uint8', 3
        match = re.fullmatch(r'(8U|8S|16U|16S|32S|32F|64F)C(\d+)', encoding)
        if match is None:
            raise TypeError(f'Unrecognized image encoding [{encoding}]')
        return np.dtype(KINDS[match[1]]).name, int(match[2])

    def imgmsg_to_cv2(self, message, desired_encoding='passthrough'):
        assert desired_encoding == 'passthrough'  # any other goes through its compiled half, which knows no floats
        kind, channels = self.encoding_to_dtype_with_channels(message.encoding)
        dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
        columns = message.step // dtype.itemsize // channels
        shape = (message.height, columns) if channels == 1 else (message.height, columns, channels)
        return np.ascontiguousarray(np.ndarray(shape, dtype, message.data)[: message.height, : message.width])


@pytest.fixture(params=['stand-in', 'real'])
def installed(request, monkeypatch):
    if request.param == 'stand-in':
        module = ModuleType('cv_bridge')
        module.CvBridge = StandIn
        monkeypatch.setitem(sys.modules, 'cv_bridge', module)
    elif importlib.util.find_spec('cv_bridge') is None:
        pytest.skip('cv_bridge comes with a ROS distribution, which is not here')
    bridge._bridge.cache_clear()
    yield
    bridge._bridge.cache_clear()


def image_message(samples: np.ndarray, encoding: str, padding: int = 0, **changes):
    rows = np.ascontiguousarray(samples).reshape(len(samples), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return messages.Image(
        **{
            'height': HEIGHT,
            'width': WIDTH,
            'encoding': encoding,
            'step': rows.shape[1],
            'data': images.to_message_array(rows),
        }
        | changes
    )


GRAY = PICTURE[..., :1]
FOUR = np.concatenate([PICTURE, GRAY], 2)


@pytest.mark.parametrize(
    'samples, encoding, expected',
    [
        (FOUR, '8UC4', PICTURE),
        (PICTURE.astype(np.uint16) << 8 | 77, '16UC3', PICTURE),
        (FOUR.astype(np.uint16) << 8, '16UC4', PICTURE),
        ((PICTURE / 255).astype(np.float32), '32FC3', PICTURE),
        ((GRAY / 255).astype(np.float32), '32FC1', GRAY.repeat(3, 2)),
        (PICTURE / 255, '64FC3', PICTURE),
    ],
)
@pytest.mark.parametrize('padded', [False, True])
def test_a_picture_in_a_rare_encoding_is_read(installed, samples, encoding, expected, padded):
    message = image_message(samples, encoding, samples.itemsize * samples.shape[2] * padded)
    image, order = images.to_array(message)
    assert image.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(image if order == 'bgr' else image[..., ::-1], expected)


@pytest.mark.parametrize(
    'samples, encoding, changes, words',
    [
        (GRAY.astype(np.float32), '32FC1', {}, 'numbers from 0 to 141, a picture holds 0 to 1'),
        (GRAY * np.float32('nan'), '32FC1', {}, 'from nan to nan'),
        (GRAY.astype(np.uint16), '16UC1', {}, 'no picture .*mono16'),
        (GRAY.astype(np.int16), '16SC1', {}, 'no picture'),
        (PICTURE[..., :2], '8UC2', {}, 'no picture'),
        (FOUR, '8UC4', {'step': 4 * WIDTH - 1}, 'correct the step'),
        (FOUR, '8UC4', {'step': 4 * WIDTH + 1}, 'correct the step'),
        (FOUR, '8UC4', {'height': HEIGHT + 1}, 'truncated, 8x7'),
        (FOUR, '8UC4', {'height': 0}, 'empty'),
        (FOUR, '8UC4', {'height': 100_000, 'width': 100_000}, 'max_image_pixels'),
        (FOUR, 'hsv9', {}, "'hsv9' is not supported: publish one of rgb8, .*cv_bridge does not know it either"),
    ],
)
def test_what_is_no_picture_or_damaged_is_refused_with_a_sentence(installed, samples, encoding, changes, words):
    with pytest.raises(InputError, match=words) as refusal:
        images.to_array(image_message(samples, encoding, **changes))
    assert str(refusal.value).endswith('.') and refusal.value.code


def test_what_cv_bridge_throws_is_a_refusal(installed, monkeypatch):
    def fail(*args, **kwargs):
        raise AttributeError('newbyteorder')  # as it does with NumPy 2

    monkeypatch.setattr(bridge._bridge()[0], 'imgmsg_to_cv2', fail)
    with pytest.raises(InputError, match='cv_bridge cannot read .*AttributeError'):
        images.to_array(image_message(FOUR, '8UC4'))


def test_without_cv_bridge_the_sentence_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)  # as if it were not installed
    bridge._bridge.cache_clear()
    with pytest.raises(InputError, match=r"'16UC3' is not supported: .*install the package cv_bridge \(ros-"):
        images.to_array(image_message(PICTURE.astype(np.uint16), '16UC3'))
    np.testing.assert_array_equal(images.to_array(image_message(PICTURE, 'bgr8'))[0], PICTURE)
    bridge._bridge.cache_clear()


def test_a_cv_bridge_for_another_numpy_is_as_good_as_none(monkeypatch, tmp_path):
    (tmp_path / 'cv_bridge.py').write_text("raise AttributeError('_ARRAY_API not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    bridge._bridge.cache_clear()
    with pytest.raises(InputError, match=r'mend the package cv_bridge.*\(AttributeError\).*for this NumPy'):
        images.to_array(image_message(FOUR, '8UC4'))
    bridge._bridge.cache_clear()

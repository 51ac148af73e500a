"""Every image encoding against a known picture, in real sensor_msgs messages."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest

from cliff_ros.errors import InputError

messages = pytest.importorskip('sensor_msgs.msg', reason='needs the ROS 2 Python packages')
images = pytest.importorskip('cliff_ros.ros.inputs.images')

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    """(H, W, 3) RGB; smooth, so that lossy encodings keep it, with red, green and blue all different."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([60 + 2 * x, 40 + 3 * y, 200 - x - y], axis=-1).astype(np.uint8)


def image_message(samples: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False, height: int = HEIGHT):
    rows = samples.reshape(samples.shape[0], -1)
    rows = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder('>' if bigendian else '<')))
    rows = rows.view(np.uint8).reshape(len(rows), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return messages.Image(
        height=height,
        width=WIDTH,
        encoding=encoding,
        is_bigendian=int(bigendian),
        step=rows.shape[1],
        data=images.to_message_array(rows),
    )


def as_rgb(message) -> np.ndarray:
    image, order = images.to_array(message)
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    return image if order == 'rgb' else image[..., ::-1]


def mosaic(picture: np.ndarray, pattern: str) -> np.ndarray:
    """What a sensor behind a colour filter sees; ``pattern`` names the first two rows of filters."""
    out = np.empty(picture.shape[:2], picture.dtype)
    for i, color in enumerate(pattern):
        y, x = divmod(i, 2)
        out[y::2, x::2] = picture[y::2, x::2, 'rgb'.index(color)]
    return out


def yuv(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT.601, video range: the definition, not OpenCV's."""
    r, g, b = np.moveaxis(picture.astype(float), -1, 0)
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    return tuple(np.rint(c).astype(np.uint8) for c in (y, u, v))


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', '8UC3'])
def test_plain_colour_is_a_view_of_the_message(picture, encoding, padding):
    message = image_message(picture if encoding == 'rgb8' else picture[..., ::-1], encoding, padding)
    image, order = images.to_array(message)
    assert order == ('rgb' if encoding == 'rgb8' else 'bgr')
    assert np.array_equal(as_rgb(message), picture)
    assert np.shares_memory(image, np.frombuffer(message.data, np.uint8))
    with pytest.raises(ValueError):
        image[0, 0] = 0
    message.data[0] ^= 255
    assert not np.array_equal(as_rgb(message), picture)


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', ['rgba8', 'bgra8', 'rgba16', 'bgra16', 'rgb16', 'bgr16'])
@pytest.mark.parametrize('bigendian', [False, True])
def test_alpha_and_16_bits(picture, encoding, padding, bigendian):
    samples = picture if encoding.startswith('rgb') else picture[..., ::-1]
    if 'a' in encoding:
        samples = np.concatenate([samples, np.full((HEIGHT, WIDTH, 1), 9, np.uint8)], axis=-1)
    if encoding.endswith('16'):
        samples = samples.astype(np.uint16) * 256 + 200
    assert np.array_equal(as_rgb(image_message(samples, encoding, padding, bigendian)), picture)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1', 'mono16'])
@pytest.mark.parametrize('bigendian', [False, True])
def test_grey(picture, encoding, bigendian):
    grey = picture[..., 0]
    samples = grey.astype(np.uint16) * 256 + 255 if encoding == 'mono16' else grey
    rgb = as_rgb(image_message(samples, encoding, padding=2, bigendian=bigendian))
    assert np.array_equal(rgb, np.repeat(grey[..., None], 3, axis=-1))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_mean_what_ros_says(picture, pattern, bits):
    samples = mosaic(picture, pattern)
    if bits == 16:
        samples = samples.astype(np.uint16) * 256
    rgb = as_rgb(image_message(samples, f'bayer_{pattern}{bits}', padding=4))
    # Interpolation of a plane is exact inside; swapped colours would be tens of levels off.
    assert np.abs(rgb.astype(int) - picture)[2:-2, 2:-2].max() <= 2


@pytest.mark.parametrize('encoding', ['yuv422', 'uyvy', 'yuyv', 'yuv422_yuy2'])
def test_yuv_422(picture, encoding):
    y, u, v = yuv(picture)
    samples = np.empty((HEIGHT, WIDTH, 2), np.uint8)
    luma = 1 if encoding in ('yuv422', 'uyvy') else 0
    samples[..., luma] = y
    samples[:, 0::2, 1 - luma] = u[:, 0::2]
    samples[:, 1::2, 1 - luma] = v[:, 0::2]
    assert np.abs(as_rgb(image_message(samples, encoding, padding=8)).astype(int) - picture).max() <= 6


@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
def test_yuv_420(picture, encoding):
    y, u, v = yuv(picture)
    first, second = (u, v) if encoding == 'nv12' else (v, u)
    chroma = np.stack([first[::2, ::2], second[::2, ::2]], axis=-1).reshape(HEIGHT // 2, WIDTH)
    message = image_message(np.concatenate([y, chroma]), encoding)
    assert np.abs(as_rgb(message).astype(int) - picture).max() <= 8


@pytest.mark.parametrize('form', ['jpeg', 'png', 'rgb8; jpeg compressed bgr8', 'bgr8; png compressed bgr8', ''])
def test_compressed(picture, form):
    codec = '.png' if 'png' in form else '.jpg'
    data = cv2.imencode(codec, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    message = messages.CompressedImage(format=form, data=images.to_message_array(data))
    assert np.abs(as_rgb(message).astype(int) - picture).max() <= (0 if codec == '.png' else 8)


def test_compressed_without_swapping_colours(picture):
    data = cv2.imencode('.png', picture)[1]
    message = messages.CompressedImage(format='rgb8; png compressed rgb8', data=images.to_message_array(data))
    assert np.array_equal(as_rgb(message), picture)


def test_compressed_mosaic(picture):
    data = images.to_message_array(cv2.imencode('.png', mosaic(picture, 'gbrg'))[1])
    message = messages.CompressedImage(format='bayer_gbrg8; png compressed ', data=data)
    assert np.abs(as_rgb(message).astype(int) - picture)[2:-2, 2:-2].max() <= 2


def test_compressed_16_bits(picture):
    data = cv2.imencode('.png', picture[..., ::-1].astype(np.uint16) * 257)[1]
    message = messages.CompressedImage(format='png', data=images.to_message_array(data))
    assert np.abs(as_rgb(message).astype(int) - picture).max() <= 1


def test_orientation_written_into_a_jpeg_is_left_alone(picture):
    """Turning the pixels would part them from their CameraInfo."""
    data = cv2.imencode('.jpg', picture[..., ::-1])[1].tobytes()
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    data = data[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[0] == WIDTH
    assert as_rgb(messages.CompressedImage(format='jpeg', data=array('B', data))).shape[0] == HEIGHT


def test_last_row_may_lack_its_padding(picture):
    message = image_message(picture, 'rgb8', padding=5)
    message.data = message.data[:-5]
    assert np.array_equal(as_rgb(message), picture)


@pytest.mark.parametrize(
    'damage, sentence',
    [
        ({'encoding': 'hsv9'}, 'not supported.*rgb8, bgr8'),
        ({'data': array('B', bytes(1000))}, 'truncated.*9216 bytes and 1000 arrived'),
        ({'data': array('B')}, 'truncated.*9216 bytes and 0 arrived'),
        ({'step': 64}, 'step of 64 bytes.*pixels takes 192'),
        ({'height': 0}, 'empty'),
        ({'width': 0}, 'empty'),
        ({'encoding': 'yuyv', 'width': 63}, 'multiples of 2'),
    ],
)
def test_damaged_images_are_refused_with_a_sentence(picture, damage, sentence):
    message = image_message(picture, 'rgb8')
    for name, value in damage.items():
        setattr(message, name, value)
    with pytest.raises(InputError, match=sentence) as refusal:
        images.to_array(message)
    assert str(refusal.value).endswith('.')


@pytest.mark.parametrize('codec', ['.jpg', '.png'])
@pytest.mark.parametrize('keep', [0.0, 0.01, 0.5, 0.9])
def test_truncated_compressed_images_are_refused(picture, codec, keep):
    noisy = picture ^ np.random.default_rng(0).integers(0, 32, picture.shape, np.uint8)
    data = cv2.imencode(codec, noisy)[1].tobytes()
    message = messages.CompressedImage(format=codec[1:], data=array('B', data[: int(keep * len(data))]))
    with pytest.raises(InputError, match='truncated|cannot be decoded'):
        images.to_array(message)


@pytest.mark.parametrize(
    'form, data, sentence',
    [('jpeg', b'not a picture at all', 'cannot be decoded'), ('16UC1; compressedDepth png', b'anything', 'depth')],
)
def test_what_is_no_picture_is_refused(form, data, sentence):
    with pytest.raises(InputError, match=sentence):
        images.to_array(messages.CompressedImage(format=form, data=array('B', data)))


def test_message_array_of_a_slice(picture):
    message = image_message(picture, 'rgb8')
    message.data = images.to_message_array(picture[:, ::2])
    assert bytes(message.data) == picture[:, ::2].tobytes()

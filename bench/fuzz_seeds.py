"""The good inputs that `make fuzz` damages: messages as a middleware writes them, and small files of every kind."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path

import numpy as np

# ---- messages, written as a middleware does


class Cdr:
    """Writes plain little-endian CDR."""

    def __init__(self, frame: str = 'camera') -> None:
        self.raw = bytearray(b'\0\1\0\0')
        self.add('iI', 5, 6)
        self.text(frame)

    def add(self, form: str, *values) -> Cdr:
        for code, value in zip(form, values, strict=True):
            self.raw += bytes(-(len(self.raw) - 4) % struct.calcsize(code)) + struct.pack('<' + code, value)
        return self

    def text(self, value: str) -> Cdr:
        self.add('I', len(value) + 1)
        self.raw += value.encode() + b'\0'
        return self

    def blob(self, data: bytes) -> Cdr:
        self.add('I', len(data))
        self.raw += data
        return self


def images() -> list[bytes]:
    from cliff_ros.ros.inputs.images import _ENCODINGS

    pixels = np.random.default_rng(0).integers(0, 255, 16 * 8 * 8, np.uint8).tobytes()
    return [
        bytes(Cdr().add('II', 8, 16).text(encoding).add('BI', 0, 16 * size).blob(pixels[: 16 * size * rows]).raw)
        for encoding in _ENCODINGS
        for size, rows in ((1, 12), (2, 8), (3, 8), (4, 8), (6, 8), (8, 8))
    ]


def compressed() -> list[bytes]:
    import cv2

    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return [
        bytes(Cdr().text(form).blob(cv2.imencode(codec, picture[..., :channels], options)[1].tobytes()).raw)
        for channels, form, codec, options in (
            (3, 'jpeg', '.jpg', []),
            (3, 'rgb8; jpeg compressed bgr8', '.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
            (3, 'png', '.png', []),
            (1, 'mono8; png compressed ', '.png', []),
        )
    ]


def camera_infos() -> list[bytes]:
    k = [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]
    p = [50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return [
        bytes(
            Cdr()
            .add('II', 48, 64)
            .text(model)
            .add('I', len(d))
            .add('d' * len(d), *d)
            .add('d' * 30, *k, *np.eye(3).reshape(-1), *p)
            .add('IIIIIIB', *binning, *roi, 0)
            .raw
        )
        for binning, roi in (((0, 0), (0,) * 4), ((2, 2), (0, 0, 48, 64)))
        for model, d in (
            ('plumb_bob', [-0.3, 0.1, 0.001, 0.002, 0.0]),
            ('plumb_bob', []),
            ('rational_polynomial', [0.1, 0.1, 0.0, 0.0, 0.1, 0.2, 0.1, 0.0]),
            ('equidistant', [0.1, 0.01, 0.0, 0.0]),
        )
    ]


def detections() -> list[bytes]:
    out = []
    for count, hypotheses in ((0, 0), (1, 1), (3, 2), (1, 0)):
        cdr = Cdr().add('I', count)
        for _ in range(count):
            cdr.add('iI', 5, 6).text('camera').add('I', hypotheses)
            for _ in range(hypotheses):
                cdr.text('person').add('d' * 44, 0.9, *[0.0] * 43)
            cdr.add('d' * 5, 30.0, 20.0, 0.0, 20.0, 30.0).text('7')
        out.append(bytes(cdr.raw))
    return out


def frames() -> list[bytes]:
    cdr = Cdr()
    del cdr.raw[4:]  # a TFMessage has no header
    cdr.add('I', 3)
    for name in ('smpl_1', 'smpl_1/head', 'odom'):
        cdr.add('iI', 5, 6).text('camera').text(name).add('d' * 7, *[0.0] * 6, 1.0)
    return [bytes(cdr.raw)]


def clocks() -> list[bytes]:
    return [struct.pack('<4siI', b'\0\1\0\0', 77, 8)]


# ---- files


def training_configs() -> list[bytes]:
    return [path.read_bytes() for path in sorted((Path(__file__).parents[1] / 'config' / 'training').glob('*.yaml'))]


def body_arrays() -> dict[str, np.ndarray]:
    """A body of 30 vertices."""
    from cliff_ros.body.names import PARENTS

    rng = np.random.default_rng(0)
    weights = rng.random((30, 24))
    return {
        'v_template': rng.random((30, 3)),
        'shapedirs': rng.random((30, 3, 10)),
        'posedirs': rng.random((30, 3, 207)),
        'weights': weights / weights.sum(1, keepdims=True),
        'J_regressor': np.full((24, 30), 1 / 30),
        'kintree_table': np.array([PARENTS, range(24)]),
        'f': rng.integers(0, 30, (20, 3)).astype(np.uint32),
    }


def pickles() -> list[bytes]:
    from scipy.sparse import csc_matrix

    small = {name: array if array.size < 1000 else array[..., :2] for name, array in body_arrays().items()}
    mixed = {'J_regressor': csc_matrix(small['J_regressor']), 'f': small['f'], 'kintree_table': [1, 2.5, 'x', None]}
    return [pickle.dumps(content, protocol=protocol) for protocol in (0, 2, 4) for content in (small, mixed)]


def zips() -> list[bytes]:
    out = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **body_arrays())
        out.append(file.getvalue())
    return out


METADATA = {
    'format': 1,
    'model': 'tiny',
    'dialect': 'embedded',
    'crop': [64, 48],
    'margin': 1.1,
    'body': 'embedded',
    'body_sha256': 'ab' * 32,
    'num_vertices': 30,
}


def onnx_file(metadata: bytes) -> bytes:
    """A runtime graph without operations, in protocol buffers."""
    from cliff_ros.graph import metadata as graph

    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value])
        length, size = len(value), b''
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + value

    inside = b''.join(field(11, field(1, name.encode())) for name in graph.INPUTS)
    inside += b''.join(field(12, field(1, name.encode())) for name in graph.OUTPUTS)
    inside += field(1, field(1, b'a') + field(2, b'b') + field(4, b'Identity'))
    prop = field(1, graph.METADATA_KEY.encode()) + field(2, metadata)
    return field(1, 8) + field(7, inside) + field(8, field(1, b'') + field(2, 17)) + field(14, prop)


def safetensors() -> list[bytes]:
    from safetensors.numpy import save

    return [save({'w': np.zeros((2, 3), np.float32)}, metadata={'dialect': 'embedded'}), save({})]


def parameter_values() -> list[bytes]:
    from cliff_ros.ros.runtime.settings import CliffSettings

    return [
        name.encode() + b'\0' + bytes([kind]) + value
        for name in CliffSettings.__dataclass_fields__
        for kind, value in ((1, b'\1'), (2, struct.pack('<q', 3)), (3, struct.pack('<d', 0.5)), (4, b'embedded'))
    ]

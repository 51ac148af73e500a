"""Damages serialized messages and has our readers take them: run as a process of its own, so that a crash is seen.

    python -m bench.mutations SEEDS.json COUNT

SEEDS.json: {kind: [hexadecimal bytes of good messages]}. Prints {kind: {outcome: count}} as JSON; only InputError may
leave a reader, and none may take a second of the CPU's time ("slow"). The same damages every time.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import random
import struct
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np

from cliff_ros.crop.views import CropSpec, crops, views_of
from cliff_ros.errors import InputError
from cliff_ros.people import Box
from cliff_ros.ros.inputs.calibration import Calibration
from cliff_ros.ros.inputs.detections import Detections, Placement
from cliff_ros.ros.inputs.images import to_array
from cliff_ros.ros.inputs.wire import read_compressed_image, read_detections, read_image
from cliff_ros.ros.runtime.guard import read_clock
from cliff_ros.ros.runtime.settings import CliffSettings

LENGTHS = [0, 1, 2, 3, 255, 256, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 30]
NUMBERS = [0.0, -0.0, 1.0, -1.0, float('nan'), float('inf'), float('-inf'), 1e17, 1e300, -1e300, 1e-300, 1e-20, 5e8]
MAX_PIXELS = 20_000
IMAGE = np.zeros((48, 64, 3), np.uint8)
SPEC = CropSpec(32, 24)


def say_nothing(kind: str, sentence: str) -> None:
    pass


SETTINGS, TURNS = CliffSettings(), itertools.count()
CALIBRATION, PLACEMENT = Calibration(SETTINGS, say_nothing), Placement(SETTINGS, say_nothing)


def cut_crops(camera, boxes: list[Box]) -> None:
    """What the pipeline does next with a camera and boxes; of every third, as it takes most of the time."""
    if next(TURNS) % 3:
        return
    views = [view for view in views_of(boxes, camera, SPEC) if view is not None]
    crops(IMAGE, camera, views, SPEC)


def camera_info(raw: bytes) -> None:
    camera = CALIBRATION.camera(raw, 'camera', (64, 48))
    cut_crops(camera, [Box(np.array([10.0, 5.0, 30.0, 40.0])), Box(np.array([0.0, 0.0, 63.0, 47.0]))])


def detections(raw: bytes) -> None:
    boxes = Detections(SETTINGS, say_nothing).boxes(read_detections(raw))
    cut_crops(CAMERA, PLACEMENT(boxes, (64, 48)))


READERS: dict[str, Callable[[bytes], object]] = {
    'image': lambda raw: to_array(read_image(raw), MAX_PIXELS),
    'compressed': lambda raw: to_array(read_compressed_image(raw), MAX_PIXELS),
    'camera_info': camera_info,
    'detections': detections,
    'clock': read_clock,
}


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One to three damages."""
    raw = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind, at = rng.randrange(6), rng.randrange(max(1, min(len(raw), rng.choice((64, 512, 1 << 30)))))
        if kind == 0:
            for _ in range(rng.randint(1, 8)):
                if raw:
                    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del raw[at:]
        elif kind == 2:
            raw += rng.randbytes(rng.randint(1, 64))
        elif kind == 3:
            at -= at % 4
            raw[at : at + 4] = struct.pack('<I', rng.choice((*LENGTHS, rng.getrandbits(32))))
        elif kind == 4:
            at -= (at + 4) % 8
            at = max(4, at)
            raw[at : at + 8] = struct.pack('<d', rng.choice(NUMBERS))
        else:
            other = rng.choice(seeds)
            begin = rng.randrange(len(other))
            raw[at : at + rng.randint(0, 40)] = other[begin : begin + rng.randint(0, 80)]
    return bytes(raw)


def repaired(raw: bytes) -> bytes:
    """A PNG in a message with the right checksums: whoever means harm knows how to compute them."""
    start = raw.find(b'\x89PNG\r\n\x1a\n')
    out, at = bytearray(raw), start + 8
    while start >= 0 and at + 12 <= len(raw):
        end = at + 12 + int.from_bytes(raw[at : at + 4], 'big')
        if end > len(raw):
            break
        out[end - 4 : end] = struct.pack('>I', zlib.crc32(raw[at + 4 : end - 4]))
        at = end
    return bytes(out)


def main(path: str, count: int) -> None:
    global CAMERA
    faulthandler.enable()
    np.seterr(all='ignore')
    cv2.setNumThreads(1)
    with open(path) as file:
        corpus = {kind: [bytes.fromhex(seed) for seed in seeds] for kind, seeds in json.load(file).items()}
    CAMERA = CALIBRATION.camera(corpus['camera_info'][0], 'camera', (64, 48))
    outcomes = {}
    for kind, seeds in corpus.items():
        rng, outcome = random.Random(kind), Counter()
        for seed in seeds:
            READERS[kind](seed)
        for _ in range(count):
            raw = mutate(rng, seeds)
            if kind == 'compressed' and rng.random() < 0.7:
                raw = repaired(raw)
            start = time.process_time()
            try:
                READERS[kind](raw)
                outcome['taken'] += 1
            except InputError as error:
                outcome['refused'] += 1
                outcome['without code'] += not error.code
            except Exception:
                outcome['escaped'] += 1
                print(kind, raw.hex(), traceback.format_exc(), file=sys.stderr)
            outcome['slow'] += time.process_time() - start > 1.0
        outcomes[kind] = outcome
    print(json.dumps(outcomes))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))

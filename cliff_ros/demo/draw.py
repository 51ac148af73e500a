"""Pictures of a recording: what a consumer can rebuild from the messages alone, over the received images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from cliff_ros.arrays import Pixels
from cliff_ros.body import BodyModel, load_body
from cliff_ros.demo.recording import Recording
from cliff_ros.files import write_bytes
from cliff_ros.people import People
from cliff_ros.record import Recorders, Take
from cliff_ros.render.overlay import draw_people, draw_skeleton
from cliff_ros.render.sheet import Picks, save_png
from cliff_ros.render.video import VideoFile

_TRUTH = (255, 255, 255)


def draw_recording(
    recording: Recording, folder: Path, rate: float, recorders: Callable[[BodyModel], Recorders] | None = None
) -> int:
    """Write ``overlay.mp4`` and ``contact_sheet.png``; returns the number of pictures.

    recorders: makes, for the body, what else gets every picture; whoever gave it closes them.

    The meshes are rebuilt from betas, rotations and translation in SmplArray with the body that came in the
    latched SmplInfo. White skeletons are the truth.
    """
    body = received_body(recording, folder)
    answers = list(zip(recording.estimate.stamps.tolist(), recording.estimate.people, strict=True))
    answers = [(stamp, people) for stamp, people in answers if stamp in recording.images]
    camera = recording.camera
    if not answers or camera is None:
        return 0
    truth = dict(zip(recording.truth.stamps.tolist(), recording.truth.people, strict=True))
    start, picks = answers[0][0], Picks()
    also = recorders(body) if recorders else None
    with VideoFile(folder / 'overlay.mp4', rate, camera.width, camera.height) as video:
        for stamp, people in tqdm(
            answers, desc='  drawing           ', unit='frame', mininterval=0.1 if sys.stderr.isatty() else 10.0
        ):
            image = _decode(recording.images[stamp])
            people = with_vertices(people, body)
            picture = draw_people(image, people, camera, body.faces)
            if also:
                also.add(Take(stamp, camera, people, image, picture))
            for person in truth.get(stamp, ()):
                draw_skeleton(picture, person.joints2d, _TRUTH, thickness=1)
            video.add(picture)
            picks.add(picture, f'{(stamp - start) * 1e-9:.1f} s')
    save_png(
        folder / 'contact_sheet.png',
        picks.sheet('cliff demo: meshes rebuilt from cliff_ros/SmplArray; white: the truth'),
    )
    return len(answers)


def received_body(recording: Recording, folder: Path) -> BodyModel:
    """The body that the node passed on; where its license forbids that, the one installed here."""
    if not recording.body_npz:
        return load_body()
    path = folder / 'body.npz'
    write_bytes(path, recording.body_npz)
    return load_body(path)


def with_vertices(people: People, body: BodyModel) -> People:
    """People with the mesh that their parameters describe."""
    return people.with_(vertices=body(people.betas, people.rotations, people.translation)[1])


def _decode(jpeg: bytes) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None  # the recorder made it
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

"""What a consumer received over DDS, as plain arrays in two files (ROS-free to read)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cliff_ros.camera import Camera
from cliff_ros.files import write_aside
from cliff_ros.people import People
from cliff_ros.results import PeopleTable, people_by_frame

STEPS = ('decode', 'detect', 'track', 'crop', 'infer', 'smooth', 'publish', 'total')
COUNTERS = ('frames_received', 'frames_processed', 'frames_dropped')


@dataclass(frozen=True)
class Messages:
    """M messages of one topic that carry people.

    stamps : (M,) int64, of the headers [ns]. frame_ids : (M,) of the headers.
    received : (M,) int64, when they reached the recorder [ns].
    people : M times those in it, without meshes.
    """

    stamps: np.ndarray
    frame_ids: Sequence[str]
    received: np.ndarray
    people: list[People]

    @property
    def headers(self) -> list[tuple[int, str]]:
        """(stamp [ns], frame id) of each."""
        return list(zip(self.stamps.tolist(), self.frame_ids, strict=True))


@dataclass(frozen=True)
class Recording:
    """Everything a run left.

    truth, estimate : what the camera drew, and what the node published.
    tf_stamps : (T,) int64 [ns] of each received transform; tf_children : (T,) their child frames;
        tf_translations : (T, 3) [m].
    mesh_markers : (K,) number of markers in each mesh message; mesh_stamps : (K,) of the first [ns].
    timing : (P, 8) ms of STEPS for each image; counters : the node's last counts (COUNTERS).
    info : of SmplInfo; body_npz : the body in it, empty where it was not passed on.
    images : stamp [ns] -> JPEG bytes, as received.
    """

    camera: Camera | None
    truth: Messages
    estimate: Messages
    tf_stamps: np.ndarray
    tf_children: Sequence[str]
    tf_translations: np.ndarray
    mesh_markers: np.ndarray
    mesh_stamps: np.ndarray
    timing: np.ndarray
    counters: dict[str, int]
    info: dict[str, str]
    body_npz: bytes
    images: dict[int, bytes]

    def save(self, folder: Path) -> None:
        """Write ``recording.npz`` and ``images.npz``, each whole or not at all. OutputError."""
        camera = self.camera
        arrays: dict[str, Any] = dict(
            **_flat('truth', self.truth),
            **_flat('estimate', self.estimate),
            tf_stamps=self.tf_stamps,
            tf_children=np.array(self.tf_children, str),
            tf_translations=self.tf_translations,
            mesh_markers=self.mesh_markers,
            mesh_stamps=self.mesh_stamps,
            timing=self.timing,
            body_npz=np.frombuffer(self.body_npz, np.uint8),
            about=json.dumps(
                {
                    'counters': self.counters,
                    'info': self.info,
                    'camera': camera
                    and {
                        'width': camera.width,
                        'height': camera.height,
                        'K': np.asarray(camera.K).tolist(),
                        'distortion_model': camera.distortion_model,
                        'd': np.asarray(camera.d).tolist(),
                        'R': None if camera.R is None else np.asarray(camera.R).tolist(),
                    },
                }
            ),
        )
        with write_aside(folder / 'recording.npz') as partial:
            np.savez_compressed(partial, **arrays)
        jpegs = list(self.images.values())
        with write_aside(folder / 'images.npz') as partial:
            np.savez(
                partial,
                stamps=np.array(list(self.images), np.int64),
                lengths=np.array([len(jpeg) for jpeg in jpegs], np.int64),
                jpegs=np.frombuffer(b''.join(jpegs), np.uint8),
            )

    @classmethod
    def load(cls, folder: Path) -> Recording:
        """Read what :meth:`save` wrote."""
        with np.load(folder / 'recording.npz') as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays['about']))
        with np.load(folder / 'images.npz') as file:
            ends = np.cumsum(file['lengths'])
            blob = file['jpegs'].tobytes()
            images = {
                int(stamp): blob[end - length : end]
                for stamp, length, end in zip(file['stamps'], file['lengths'], ends, strict=True)
            }
        return cls(
            camera=about['camera'] and Camera(**about['camera']),
            truth=_messages('truth', arrays),
            estimate=_messages('estimate', arrays),
            tf_stamps=arrays['tf_stamps'],
            tf_children=arrays['tf_children'].tolist(),
            tf_translations=arrays['tf_translations'],
            mesh_markers=arrays['mesh_markers'],
            mesh_stamps=arrays['mesh_stamps'],
            timing=arrays['timing'],
            counters=about['counters'],
            info=about['info'],
            body_npz=arrays['body_npz'].tobytes(),
            images=images,
        )


def _flat(prefix: str, messages: Messages) -> dict[str, np.ndarray]:
    table = PeopleTable()
    for index, people in enumerate(messages.people):
        table.add(index, float(messages.stamps[index]) * 1e-9, people)
    arrays = {
        'stamps': messages.stamps,
        'frame_ids': np.array(messages.frame_ids, str),
        'received': messages.received,
        **{f'person_{k}': v for k, v in table.columns().items()},
    }
    return {f'{prefix}_{name}': array for name, array in arrays.items()}


def _messages(prefix: str, arrays: dict[str, np.ndarray]) -> Messages:
    start = f'{prefix}_person_'
    columns = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    stamps = arrays[f'{prefix}_stamps']
    return Messages(
        stamps,
        arrays[f'{prefix}_frame_ids'].tolist(),
        arrays[f'{prefix}_received'],
        people_by_frame(columns, len(stamps)),
    )

"""``~/mesh`` and ``~/skeleton``: people for RViz.

What RViz is good at decided the form: the number of points of a marker never changes (it then updates in
place), one color per marker and alpha 1 (colors per vertex turn the light off, alpha below 1 the depth
buffer), ids stay with their person, a short lifetime, and DELETE for those who left (DELETEALL in every
message flickers).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from cliff_ros.body.names import NUM_JOINTS, PARENTS
from cliff_ros.render.colors import color_of
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.cdr import SENTINEL_POINT, SENTINEL_STAMP, STAMP, Slot, Template, doubles, stamp_slot
from cliff_ros.ros.outputs.output import Output, Processed, Setup

LIFETIME = Duration(sec=0, nanosec=500_000_000)  # survives dropped frames, clears up after a crash
_BONES = np.array([(PARENTS[joint], joint) for joint in range(1, NUM_JOINTS)]).reshape(-1)  # (46,) joints
_POINT = np.dtype((np.float64, 3))


class _Markers:
    """Serializes marker arrays with ``points`` spliced in, and remembers who is shown."""

    namespaces: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._shown: tuple[str, frozenset[int]] = ('', frozenset())
        self._template = lru_cache(maxsize=2)(self._make_template)  # a mesh is 1 MB per person

    def serialize(self, batch: Batch) -> bytes:
        """The bytes of a MarkerArray that adds or updates everyone."""
        template = self._template(batch.frame_id, batch.ids)
        template.fill('stamp', np.array(batch.stamp, STAMP))
        for n in range(len(batch)):
            self._write(template, batch, n)
        self._shown = (batch.frame_id, self._shown[1].union(batch.ids))
        return template.tobytes()

    def farewell(self, batch: Batch | None = None) -> MarkerArray | None:
        """DELETE markers for everyone shown before who is not in the batch; None if nobody left."""
        frame_id, shown = self._shown
        gone = shown.difference(batch.ids if batch else ())
        if not gone:
            return None
        self._shown = (frame_id, shown - gone)
        header = Header(frame_id=frame_id)
        return MarkerArray(
            markers=[
                Marker(header=header, ns=namespace, id=_marker_id(person), action=Marker.DELETE)
                for person in sorted(gone)
                for namespace in self.namespaces
            ]
        )

    def _write(self, template: Template, batch: Batch, n: int) -> None:
        raise NotImplementedError

    def _make_template(self, frame_id: str, ids: tuple[int, ...]) -> Template:
        raise NotImplementedError


class MeshMarkers(_Markers):
    """One TRIANGLE_LIST per person."""

    namespaces = ('smpl_mesh',)

    def __init__(self, faces: np.ndarray) -> None:
        """faces: (F, 3) vertex indices."""
        super().__init__()
        self._corners = np.ascontiguousarray(faces, np.intp).reshape(-1)

    def _write(self, template: Template, batch: Batch, n: int) -> None:
        assert batch.people.vertices is not None  # of nobody, none are written
        vertices = batch.people.vertices[n].astype(np.float64)
        # mode 'clip': 'raise' would make numpy buffer the output; the faces are known to be in range
        np.take(vertices, self._corners, axis=0, out=template.views['points'][n], mode='clip')

    def _make_template(self, frame_id: str, ids: tuple[int, ...]) -> Template:
        markers = [_marker('smpl_mesh', frame_id, person, Marker.TRIANGLE_LIST, 1.0) for person in ids]
        return Template(
            MarkerArray(markers=markers),
            {
                'stamp': stamp_slot(len(ids)),
                'points': Slot(_POINT, doubles(*SENTINEL_POINT), len(ids), length=len(self._corners)),
            },
        )


class SkeletonMarkers(_Markers):
    """Bones as a LINE_LIST and joints as a SPHERE_LIST per person."""

    namespaces = ('smpl_bones', 'smpl_joints')

    def _write(self, template: Template, batch: Batch, n: int) -> None:
        template.views['bones'][n][:] = batch.people.joints[n][_BONES]
        template.views['joints'][n][:] = batch.people.joints[n]

    def _make_template(self, frame_id: str, ids: tuple[int, ...]) -> Template:
        bones = [_marker('smpl_bones', frame_id, person, Marker.LINE_LIST, 0.02) for person in ids]
        joints = [_marker('smpl_joints', frame_id, person, Marker.SPHERE_LIST, 0.05, -1.0) for person in ids]
        return Template(
            MarkerArray(markers=bones + joints),
            {
                'stamp': stamp_slot(2 * len(ids)),
                'bones': Slot(_POINT, doubles(*SENTINEL_POINT), len(ids), length=len(_BONES)),
                'joints': Slot(_POINT, doubles(*(-v for v in SENTINEL_POINT)), len(ids), length=NUM_JOINTS),
            },
        )


def _marker(namespace: str, frame_id: str, person: int, kind: int, size: float, sign: float = 1.0) -> Marker:
    """A marker that holds one sentinel point; ``sign`` tells two kinds in one message apart."""
    red, green, blue = (value / 255 for value in color_of(person))
    x, y, z = (sign * v for v in SENTINEL_POINT)
    marker = Marker(
        header=Header(stamp=SENTINEL_STAMP, frame_id=frame_id),
        ns=namespace,
        id=_marker_id(person),
        type=kind,
        action=Marker.ADD,
        scale=Vector3(x=size, y=size, z=size),
        lifetime=LIFETIME,
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        points=[Point(x=x, y=y, z=z)],
    )
    marker.pose.orientation.w = 1.0
    return marker


def _marker_id(person: int) -> int:
    return person & 0x7FFFFFFF  # Marker.id is signed


class _MarkersOutput(Output):
    message = MarkerArray
    has_last_word = True

    def __init__(self, setup: Setup, markers: _Markers) -> None:
        super().__init__(setup)
        self._markers = markers

    def publish(self, processed: Processed) -> None:
        gone = self._markers.farewell(processed.batch)
        if gone:
            self.publisher.publish(gone)
        self.publisher.publish(self._markers.serialize(processed.batch))

    def clear(self, header: Header) -> None:
        gone = self._markers.farewell()
        if gone:
            self.publisher.publish(gone)


class MeshOutput(_MarkersOutput):
    """``~/mesh``."""

    topic, depth = '~/mesh', 2
    needs_vertices = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, MeshMarkers(setup.pipeline.body.faces))


class SkeletonOutput(_MarkersOutput):
    """``~/skeleton``."""

    topic = '~/skeleton'

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, SkeletonMarkers())

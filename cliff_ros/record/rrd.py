"""rerun's own format, where rerun is installed: ``rerun people.rrd``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.record import Take
from cliff_ros.render.colors import color_of

_QUALITY = 85  # of JPEG


class Rrd:
    """A `Recorder`: image, camera, meshes and skeletons on the timelines ``stamp`` and ``image``."""

    def __init__(self, folder: Path, body: BodyModel, fps: float, note: str) -> None:
        import rerun

        self._rr: Any = rerun
        self._path, self._body, self._count = folder / 'people.rrd', body, 0
        self._shown: set[int] = set()
        self._stream = rerun.RecordingStream('cliff_ros')
        self._stream.save(str(self._path))
        self._stream.log('/', rerun.ViewCoordinates.RDF, static=True)
        self._stream.log('privacy', rerun.TextDocument(note or 'off'), static=True)

    def add(self, take: Take) -> None:
        """Log one image at its stamp; whoever is not in it any more is cleared from the view."""
        rr, stream = self._rr, self._stream
        stream.set_time('stamp', timestamp=np.datetime64(take.stamp, 'ns'))
        stream.set_time('image', sequence=self._count)
        self._count += 1
        camera = take.camera
        stream.log('camera', rr.Pinhole(image_from_camera=camera.K, resolution=[camera.width, camera.height]))
        picture = take.image if take.picture is None else take.picture
        if picture is not None:
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
            stream.log('camera/image', rr.EncodedImage(contents=data, media_type='image/jpeg'))
        bones = [(parent, joint) for joint, parent in enumerate(self._body.parents.tolist()) if joint]
        for person in take.people:
            name, color = f'people/{person.id}', color_of(person.id)
            lines = np.asarray(person.joints, np.float32)[np.array(bones)]
            stream.log(f'{name}/skeleton', rr.LineStrips3D(lines, colors=[color], radii=0.01))
            if person.vertices is not None:
                stream.log(
                    f'{name}/mesh',
                    rr.Mesh3D(vertex_positions=person.vertices, triangle_indices=self._body.faces, albedo_factor=color),
                )
        for gone in self._shown - {person.id for person in take.people}:
            stream.log(f'people/{gone}', rr.Clear(recursive=True))
        self._shown = {person.id for person in take.people}

    def close(self) -> list[Path]:
        """Write what is still buffered; the rest is in ``people.rrd`` already."""
        self._stream.flush()
        self._stream.disconnect()
        return [self._path]

"""A graph of somebody else's making runs for the first time in a child process, with limits on memory and time.

ONNX Runtime checks little of what it is given: a damaged graph may end the process, a hostile one take all memory or
never come back, deaf to signals. What came through once is known by its SHA-256 until this process ends. How often a
loop goes round may depend on the image: a graph with one may pass here and hang later, so it is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cliff_ros import assets
from cliff_ros.errors import CliffError, ModelError
from cliff_ros.files import check_regular
from cliff_ros.graph.metadata import read_metadata, sha256
from cliff_ros.graph.onnx_file import OnnxFile
from cliff_ros.sandbox import Limits, run_limited

LIMITS = Limits(result=1 << 20)
_LIBRARIES = ('numpy', 'cv2', 'onnxruntime')
_accepted: set[tuple[str, str]] = set()  # (function, SHA-256)


def check_graph(path: Path) -> None:
    """ModelError unless this is a runtime graph that runs on ONNX Runtime; the embedded one is known to be."""
    check(f'{__name__}:try_graph', path, assets.NETWORK)


def check(function: str, path: Path, embedded: Path) -> None:
    """ModelError unless a function of the form 'module:name' comes to its end with this file, in a child process.

    embedded: the file that ships with the package, which is known to run.
    """
    if path == embedded:
        return
    try:
        check_regular(path)
        digest = sha256(path)
    except ModelError as error:
        raise ModelError(f'{path} {error}') from None
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror}') from error
    if (function, digest) in _accepted or digest == sha256(embedded):
        return
    run_limited(function, path, what=str(path), limits=LIMITS, libraries=_LIBRARIES)
    _accepted.add((function, digest))


# ---- in the child


def try_graph(path: str) -> dict[str, np.ndarray]:
    """Load a runtime graph and run it on two crops, with the mesh and without."""
    from cliff_ros.engine.onnx_engine import OnnxEngine

    file = OnnxFile(path)
    spec = read_metadata(file, path).spec
    refuse_loops(file, path)
    crops = np.zeros((2, spec.height, spec.width, 3), np.uint8)
    location = np.tile(np.array([0, 0, 0.5], np.float32), (2, 1))
    try:
        engine = OnnxEngine(path, threads=1, on=['CPUExecutionProvider'])
        for vertices in (False, True):
            engine(crops, location, vertices)
    except ModelError:
        raise
    except CliffError as error:
        raise ModelError(f'{path} does not run: {error}') from None
    return {}


def refuse_loops(file: OnnxFile, path: str) -> None:
    """ModelError for a graph that may never end."""
    if any(node.kind == 'Loop' for node in file.nodes()):
        raise ModelError(
            f'{path} holds a Loop, which may never end: export it without (a detector without its own '
            'suppression, nms=False)'
        )

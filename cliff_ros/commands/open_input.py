"""What a command's argument names: a bag, or one of the sources that need no ROS messages."""

from __future__ import annotations

from pathlib import Path

from cliff_ros.sources import Source, open_source


def open_input(spec: str, camera: str | None = None, fps: float | None = None, loop: bool = False) -> Source:
    """Open a bag (``FILE.mcap``, a folder with metadata.yaml; ``BAG:/topic``), or see `open_source`."""
    from cliff_ros.ros.bag_source import BagSource, is_bag

    if is_bag(Path(spec.partition(':/')[0]).expanduser()):
        return BagSource(spec, camera, fps, loop)
    return open_source(spec, camera, fps, loop)

"""What ``cliff bag`` writes: the recording of `record.bag` as one MCAP file, with the node's timing and latched body.

The same frames give the same bytes on every topic but ``timing``, which holds what it cost.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cliff_ros.body import BodyModel
from cliff_ros.files import unwritable
from cliff_ros.graph.metadata import GraphMetadata
from cliff_ros.pipeline import STAGES
from cliff_ros.record.bag import NODE, Bag


class OfflineBag(Bag):
    """output: the .mcap, which is there when it is whole. metadata: of the network, and engine, for ``~/body``."""

    def __init__(self, output: Path, body: BodyModel, metadata: GraphMetadata, engine: str) -> None:
        self._output, self._metadata, self._engine, self._frames = output, metadata, engine, 0
        self._partial = output.with_name(f'.{output.name}.partial')
        shutil.rmtree(self._partial, ignore_errors=True)
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise unwritable(output, error) from error
        super().__init__(self._partial, body, 0.0, '')

    def timing(self, stamp: int, frame_id: str, stages: Mapping[str, float], people: int) -> None:
        """What an image cost: stages [ms] of `people.People`. Nothing waited, nothing was dropped."""
        now = self._time(stamp)
        self._frames += 1
        cost = {f'{name}_ms': float(stages.get(name, 0.0)) for name in (*STAGES, 'decode', 'publish')}
        message = self._make(
            'cliff_ros/msg/Timing', header=self._header(stamp, frame_id), received=now, started=now, published=now,
            total_ms=float(sum(stages.values())), people=people, frames_received=self._frames,
            frames_processed=self._frames, frames_dropped=0, **cost,
        )  # fmt: skip
        self._write(f'{NODE}/timing', stamp, message)

    def _info(self, header: Any) -> Any:
        info = super()._info(header)
        info.model, info.model_sha256 = self._metadata.model, self._metadata.sha256
        info.engine = self._engine
        return info

    def close(self) -> list[Path]:
        """Finish the file and put it where it belongs."""
        found = super().close()
        try:
            if found and found[0].is_file():
                found[0].replace(self._output)
        except OSError as error:
            raise unwritable(self._output, error) from error
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)
        return [self._output]

    def abandon(self) -> None:
        """Leave nothing behind."""
        try:
            super().close()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

"""``~/people``: SmplArray, one for each processed image, also when nobody is there."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from geometry_msgs.msg import Quaternion
from std_msgs.msg import Header

from cliff_ros.msg import Smpl, SmplArray
from cliff_ros.ros.outputs.batch import Batch
from cliff_ros.ros.outputs.cdr import SENTINEL_DOUBLE, SENTINEL_STAMP, STAMP, Slot, Template, doubles, stamp_slot
from cliff_ros.ros.outputs.output import Output, Processed, Setup

# What stands between the header and betas in Smpl.msg ...
_HEAD = np.dtype(
    {
        'names': ['id', 'score', 'box', 'track_state', 'age'],
        'formats': [np.uint32, np.float32, (np.float32, 4), np.uint8, np.float32],
        'offsets': [0, 4, 8, 24, 28],
        'itemsize': 32,
    }
)
# ... and after betas. All float64 in a row, so no padding in between.
_METRIC = np.dtype(
    [
        ('rotations', np.float64, (24, 4)),
        ('translation', np.float64, 3),
        ('velocity', np.float64, 3),
        ('joints', np.float64, (24, 3)),
        ('joints2d', np.float32, (24, 2)),
    ]
)
_SENTINEL_ID, _SENTINEL_SCORE, _SENTINEL_BETA = 0x5EEDCAFE, -12345.678710938, -9876.5429688


class PeopleMessage:
    """Serializes people; one template per number of people and frame id."""

    def __init__(self) -> None:
        self._template = lru_cache(maxsize=64)(self._make_template)

    def serialize(self, batch: Batch) -> bytes:
        """The bytes of a SmplArray."""
        people, count = batch.people, len(batch)
        template = self._template(batch.frame_id, count, people.betas.shape[1] if count else 0)
        template.fill('stamp', np.array(batch.stamp, STAMP))
        head, metric = np.zeros(count, _HEAD), np.zeros(count, _METRIC)
        for name in ('id', 'score', 'box', 'track_state', 'age'):
            head[name] = getattr(people, name)
        for name in ('translation', 'velocity', 'joints', 'joints2d'):
            metric[name] = getattr(people, name)
        metric['rotations'] = batch.quaternions
        for slot, records in ('head', head), ('betas', people.betas), ('metric', metric):
            for place, record in zip(template.views[slot], records, strict=True):
                place[...] = record
        return template.tobytes()

    @staticmethod
    def _make_template(frame_id: str, count: int, num_betas: int) -> Template:
        header = Header(stamp=SENTINEL_STAMP, frame_id=frame_id)
        one = Smpl(header=header, id=_SENTINEL_ID, score=_SENTINEL_SCORE, betas=[_SENTINEL_BETA] * num_betas)
        x, y, z, w = sentinel = [SENTINEL_DOUBLE, -SENTINEL_DOUBLE] * 2
        one.rotations[0] = Quaternion(x=x, y=y, z=z, w=w)
        id_and_score = np.uint32(_SENTINEL_ID).tobytes() + np.float32(_SENTINEL_SCORE).tobytes()
        betas = np.full(num_betas, _SENTINEL_BETA, np.float32)
        return Template(
            SmplArray(header=header, people=[one] * count),
            {
                'stamp': stamp_slot(1 + count),
                'head': Slot(_HEAD, id_and_score, count),
                'betas': Slot(np.dtype((np.float32, num_betas)), betas.tobytes(), count),
                'metric': Slot(_METRIC, doubles(*sentinel), count),
            },
        )


class PeopleOutput(Output):
    """``~/people``."""

    topic, message = '~/people', SmplArray
    has_last_word = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._message = PeopleMessage()

    def wanted(self) -> bool:
        """Always: it is what the node is for."""
        return True

    def publish(self, processed: Processed) -> None:
        """Publish a SmplArray with the image's header; it is empty when nobody is there."""
        self.publisher.publish(self._message.serialize(processed.batch))

    def clear(self, header: Header) -> None:
        """Publish a SmplArray without people."""
        self.publisher.publish(SmplArray(header=header))

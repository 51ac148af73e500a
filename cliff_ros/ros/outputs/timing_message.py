"""``~/timing``: where the time of each image went."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from cliff_ros.msg import Timing


def timing_message(
    header: Header,
    received: Time,
    started: Time,
    published: Time,
    stages: dict[str, float],
    total: float,
    people: int,
    counts: tuple[int, int, int],
) -> Timing:
    """stages: name -> ms, as in the fields ``<name>_ms``; counts: frames received, processed, dropped."""
    frames_received, frames_processed, frames_dropped = counts
    return Timing(
        header=header,
        received=received,
        started=started,
        published=published,
        total_ms=total,
        people=people,
        frames_received=frames_received,
        frames_processed=frames_processed,
        frames_dropped=frames_dropped,
        **{f'{name}_ms': float(ms) for name, ms in stages.items()},
    )

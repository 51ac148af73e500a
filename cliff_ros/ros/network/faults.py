"""What is likely wrong with what was heard: one sentence each, with its cause and what to do. Needs no ROS."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cliff_ros.ros.network.heard import Heard, Topic

IMAGE, JPEG, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/CameraInfo'
PEOPLE, CLOCK = 'cliff_ros/msg/SmplArray', 'rosgraph_msgs/msg/Clock'
_OURS = 'cliff_doctor'
_OLD, _AHEAD = 1.0, 0.05  # [s] age of a stamp that is no delay any more, and how far clocks may differ
_SHARED_MEMORY = 500_000  # [bytes] of a message that best effort loses: Fast DDS lends 512 kB (middleware.py)


@dataclass(frozen=True)
class Fault:
    """where: a topic, frame or node; '' for the whole. Marked in the table."""

    where: str
    sentence: str


def faults(heard: Heard) -> list[Fault]:
    """The likely ones, the widest first."""
    checks: tuple[Callable[[Heard], Iterator[Fault]], ...] = (
        _nobody, _names, _types, _qos, _silent, _unheard, _clocks, _cameras, _frames,
    )  # fmt: skip
    return [fault for check in checks for fault in check(heard)]


def _nobody(heard: Heard) -> Iterator[Fault]:
    publishers = [one.node for topic in heard.topics.values() for one in topic.publishers]
    if not heard.nodes and all(node.endswith(f'/{_OURS}') for node in publishers):
        variables = ', '.join(f'{name}={value}' for name, value in heard.environment.items()) or 'no variable of ROS'
        yield Fault(
            '',
            f'Nobody is heard ({variables} is set here): give all machines the same ROS_DOMAIN_ID and '
            'RMW_IMPLEMENTATION, let ROS_AUTOMATIC_DISCOVERY_RANGE be SUBNET between machines, and let UDP multicast '
            'through firewall, access point and container (docker: --net=host --ipc=host).',
        )


def _names(heard: Heard) -> Iterator[Fault]:
    for name, count in Counter(heard.nodes).items():
        if count > 1:
            yield Fault(name, f'{count} nodes have the name {name}: end all but one, or give each a namespace.')


def _types(heard: Heard) -> Iterator[Fault]:
    for topic in heard.topics.values():
        if len(topic.types) > 1:
            yield Fault(
                topic.name, f'{topic.name} has the types {" and ".join(topic.types)}: these do not hear each other.'
            )


def _qos(heard: Heard) -> Iterator[Fault]:
    for topic in heard.topics.values():
        for publisher in topic.publishers:
            for subscriber in topic.subscribers:
                lacks = []
                if subscriber.reliable and publisher.reliable is False:
                    lacks.append('reliable delivery')
                if subscriber.latched and publisher.latched is False:
                    lacks.append('what was published before (transient local)')
                if lacks:
                    yield Fault(
                        topic.name,
                        f'{subscriber.node} asks for {" and ".join(lacks)} on {topic.name}, which {publisher.node} '
                        'does not offer, so it gets nothing: change the QoS of one of the two.',
                    )


def _silent(heard: Heard) -> Iterator[Fault]:
    for topic in heard.topics.values():
        if not topic.publishers or not topic.listened or topic.received:
            continue
        who = topic.publishers[0].node
        if all(publisher.latched for publisher in topic.publishers):
            yield Fault(topic.name, f'{topic.name} is latched, and nothing came: {who} has not published it yet.')
        elif topic.type == CLOCK:
            yield Fault(
                topic.name, f'Time stands still: {who} has /clock and sends nothing; start the simulation or bag.'
            )
        elif topic.type == IMAGE and not any(publisher.reliable for publisher in topic.publishers):
            yield Fault(
                topic.name,
                f'{topic.name} is published with best effort and nothing came: {who} sends nothing, or its images are '
                'larger than the shared memory of the middleware; start it with share/cliff_ros/config/fastdds.xml.',
            )
        elif topic.type in (IMAGE, JPEG, INFO):
            yield Fault(topic.name, f'{topic.name} is there and nothing came: check that {who} runs and is active.')


def _unheard(heard: Heard) -> Iterator[Fault]:
    """Somebody waits for an image, or boxes, that nobody publishes under this name."""
    for topic in heard.topics.values():
        if topic.publishers or topic.type not in (IMAGE, JPEG, INFO, 'vision_msgs/msg/Detection2DArray'):
            continue
        waiting = [subscriber.node for subscriber in topic.subscribers if _OURS not in subscriber.node]
        if waiting:
            there = [other.name for other in heard.of_type(*topic.types)]
            near = difflib.get_close_matches(topic.name, there, 1, 0.3) or there[:1]
            remedy = f'remap it to {near[0]}' if near else 'start what publishes it'
            yield Fault(topic.name, f'{waiting[0]} waits for {topic.name}, which nobody publishes: {remedy}.')


def _clocks(heard: Heard) -> Iterator[Fault]:
    simulated = any(topic.received for topic in heard.of_type(CLOCK))
    for topic in heard.topics.values():
        ages = topic.ages
        latched = bool(topic.publishers) and all(publisher.latched for publisher in topic.publishers)
        if not ages or latched or topic.name == '/tf_static':
            continue
        middle = sorted(ages)[len(ages) // 2]
        stamps = {stamp for _, stamp in topic.stamps}
        if stamps == {0.0}:
            yield Fault(topic.name, f'Stamps on {topic.name} are zero: have its publisher stamp what it sends.')
        elif len(ages) > 2 and len(stamps) == 1:
            yield Fault(topic.name, f'All stamps on {topic.name} are the same: its publisher does not renew them.')
        elif simulated:
            continue  # of another clock than this machine's
        elif middle > _OLD:
            yield Fault(
                topic.name,
                f'{topic.name} is stamped {_span(middle)} ago when it comes: the clocks of the machines differ '
                '(chrony, PTP), the driver stamps with time since its start, a bag is played without use_sim_time, or '
                'somebody on the way is slow.',
            )
        elif middle < -_AHEAD:
            yield Fault(
                topic.name,
                f'{topic.name} comes from {_span(-middle)} in the future: the clocks of the machines differ; set them '
                'with chrony or PTP.',
            )


def _cameras(heard: Heard) -> Iterator[Fault]:
    infos = {topic.name.rpartition('/')[0]: topic for topic in heard.of_type(INFO)}
    for one in infos.values():
        if one.calibrated is False:
            yield Fault(one.name, f'{one.name} holds no calibration (K is zero): calibrate with camera_calibration.')
    for image in heard.of_type(IMAGE, JPEG):
        if any(PEOPLE in topic.types for topic in _beside(heard, image)):
            continue  # our own overlay
        info = _info_of(image, infos)
        if info is None:
            yield Fault(
                image.name,
                f'{image.name} has no CameraInfo beside it: people cannot be placed; start the driver with one.',
            )
            continue
        if image.frames and info.frames and image.frames != info.frames:
            yield Fault(
                info.name,
                f'{image.name} is in frame {_some(image.frames)} but {info.name} in {_some(info.frames)}: have the '
                "driver use the camera's optical frame for both.",
            )
        if image.size and info.size and image.size != info.size:
            yield Fault(
                info.name,
                f'{image.name} is {image.size[0]}x{image.size[1]}, but {info.name} describes {info.size[0]}x'
                f'{info.size[1]}: publish the CameraInfo of this image.',
            )


def _frames(heard: Heard) -> Iterator[Fault]:
    above = {child: {parent for parent, _ in parents} for child, parents in heard.parents.items()}
    for child, parents in above.items():
        if len(parents) > 1:
            yield Fault(
                child, f'The frame {child} is put under {_some(parents)} by turns: end one of those who publish it.'
            )
        if _loops(child, above):
            yield Fault(child, f'The frame {child} is above itself: correct who publishes its parents.')
    roots = {parent for parents in above.values() for parent in parents} - set(above)
    if len(roots) > 1:
        yield Fault('', f'The frames are {len(roots)} trees, which tf cannot compare ({_some(roots)}): connect them.')
    known = set(above) | roots
    for image in heard.of_type(IMAGE, JPEG):
        for frame in image.frames - known if known else ():
            yield Fault(
                image.name,
                f'The frame {frame or "with no name"} of {image.name} is not in the tree: people found in it cannot be '
                'placed elsewhere (robot_state_publisher, or static_transform_publisher).',
            )


def _loops(child: str, above: dict[str, set[str]]) -> bool:
    seen: set[str] = set()
    now = {child}
    while now - seen:
        seen |= now
        now = {parent for frame in now for parent in above.get(frame, ())}
        if child in now:
            return True
    return False


def _info_of(image: Topic, infos: dict[str, Topic]) -> Topic | None:
    """The CameraInfo in the image's namespace, or in one above it (image_raw/compressed)."""
    place = image.name.rpartition('/')[0]
    while place:
        if place in infos:
            return infos[place]
        place = place.rpartition('/')[0]
    return infos.get('')


def _beside(heard: Heard, topic: Topic) -> list[Topic]:
    place = topic.name.rpartition('/')[0] + '/'
    return [other for other in heard.topics.values() if other.name.startswith(place) and other is not topic]


def _some(names: set[str], most: int = 4) -> str:
    shown = sorted(name or '(none)' for name in names)
    return ', '.join(shown[:most]) + (', ...' if len(shown) > most else '')


def _span(seconds: float) -> str:
    return f'{seconds:.1f} s' if seconds < 3600 else f'{seconds / 3600:.0f} h'

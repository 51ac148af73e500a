"""How people are found and followed: the options that the pipeline, the node's parameters and the commands share.

An option is named here once, with its default, its bounds and what it does. Whoever offers it takes all of that from
here: ``cliff_ros.ros.runtime.settings`` as a ROS parameter, :func:`add_arguments` as an option of a command.
"""

from __future__ import annotations

import argparse
import numbers
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, NamedTuple

from cliff_ros.errors import InputError
from cliff_ros.track import SmootherOptions


class About(NamedTuple):
    """What is known of an option besides its name and default: what it does, and smallest and largest value."""

    text: str
    range: tuple[float, float] | None = None
    choices: tuple | None = None


def _option(default: Any, text: str, range: tuple[float, float] | None = None, choices: tuple | None = None) -> Any:
    return field(default=default, metadata={'about': About(text, range, choices)})


@dataclass(frozen=True)
class PipelineOptions:
    """Options of a `Pipeline`, all of which may change between two images: ``pipeline.options = replace(...)``.

    Raises InputError for a value that lies out of bounds. The text beside each field says what it does.
    """

    smoothing: bool | SmootherOptions = _option(True, 'smooth pose, shape and place over time')
    smooth_boxes: bool = _option(True, "cut crops along smoothed boxes, which jitter less than a detector's")
    max_people: int = _option(32, 'most people in an image; of more, the best scores are kept', range=(1, 128))
    detection_interval: int = _option(1, 'look for people in every n-th image, follow them in between', range=(1, 1000))
    score_threshold: float | None = _option(
        None, 'smallest score of a detection; with a network that does not say who is a person, 0.4', range=(0.01, 0.99)
    )  # None: the detector's own
    # Half of it keeps somebody who was there before. Boxes that are given are believed.
    presence_threshold: float = _option(
        0.7,
        'smallest probability, by the network, that a detection is a person; 0 believes the detector',
        range=(0.0, 1.0),
    )
    # A first image, after a reset too, and still images have no rate: one. Boxes that are given are believed at once.
    min_hits: int = _option(
        0,
        'images in a row in which somebody must be seen to be reported; 0: two at 10 images/s and more, else one',
        range=(0, 100),
    )
    # A detector's boxes end where the person does. Where one turns out wrong, its person is looked at a second time.
    refine_boxes: bool = _option(
        True, "follow people by the bodies found in the detector's boxes; boxes that are given stay as they are"
    )
    coast: float = _option(
        0.2, 'how long a person who is not seen is still reported, once seen in several images [s]', range=(0.0, 10.0)
    )
    upright: int = _option(
        0,
        'degrees by which images must be turned clockwise for people to stand upright in them',
        choices=(0, 90, 180, 270),
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            problem = _problem(one, getattr(self, one.name))
            if problem:
                raise InputError(f'{one.name} {problem}')


NAMES = tuple(one.name for one in fields(PipelineOptions))


def about(name: str) -> tuple[Any, About]:
    """Default and description of an option."""
    one = next(one for one in fields(PipelineOptions) if one.name == name)
    return one.default, one.metadata['about']


def changed(options: PipelineOptions, changes: dict[str, Any]) -> PipelineOptions:
    """The options with some of them replaced. Raises InputError for a name that there is not."""
    unknown = sorted(set(changes) - set(NAMES))
    if unknown:
        raise InputError(f'there is no option {", ".join(unknown)}: there are {", ".join(NAMES)}')
    return replace(options, **changes)


def _problem(one: Field, value: Any) -> str | None:
    """What is wrong with the value of an option, or None."""
    known: About = one.metadata['about']
    kind = type(one.default)
    if value is None and one.default is None:
        return None
    if kind is bool:
        if isinstance(value, bool) or (one.name == 'smoothing' and isinstance(value, SmootherOptions)):
            return None
        return f'must be True or False, not {value!r}'
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if kind is int else numbers.Real):
        return f'must be a {"whole " if kind is int else ""}number, not {value!r}'
    if known.choices and value not in known.choices:
        return f'must be one of {", ".join(map(str, known.choices))}, not {value}'
    if known.range and not known.range[0] <= float(value) <= known.range[1]:
        return f'must lie in {known.range[0]} .. {known.range[1]}, not {value}'
    return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command the options: ``--max-people N``, ``--no-smoothing`` and so on."""
    group = parser.add_argument_group('who is in the image, and over time')
    for one in fields(PipelineOptions):
        known: About = one.metadata['about']
        default = " (default: the detector's own)" if one.default is None else f' (default: {one.default})'
        flag = f'--{one.name.replace("_", "-")}'
        if isinstance(one.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=one.default, help=known.text)
        else:
            kind = float if one.default is None else type(one.default)
            group.add_argument(
                flag,
                type=kind,
                default=one.default,
                choices=known.choices,
                metavar='N' if kind is int else 'X',
                help=known.text + default,
            )


def from_arguments(args: argparse.Namespace) -> PipelineOptions:
    """The options that a command was given."""
    return PipelineOptions(**{name: getattr(args, name) for name in NAMES})

"""How people are found and followed: the options that the pipeline, the node's parameters and the commands share.

An option is named here once, with its default, its bounds and what it does. Whoever offers it takes all of that from
here: ``cliff_ros.ros.runtime.settings`` as a ROS parameter, :func:`add_arguments` as an option of a command.
"""

from __future__ import annotations

import argparse
import numbers
from dataclasses import dataclass, replace
from typing import Any

from cliff_ros.errors import InputError
from cliff_ros.specs import KINDS, Spec, specified, specs_of
from cliff_ros.track import SmootherOptions


def _option(
    default: Any, text: str, range: tuple[float, float] | None = None, choices: tuple[Any, ...] | None = None
) -> Any:
    return specified(default, Spec(text, range, choices))


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
    turn_beyond: float = _option(
        -1.0,
        'angle off the optical axis [deg] beyond which people are seen through a view turned toward them; 0: always; '
        'below 0: where the network was trained on nobody any more',
        range=(-1.0, 60.0),
    )

    def __post_init__(self) -> None:
        for name, (default, spec) in SPECS.items():
            problem = _problem(name, getattr(self, name), default, spec)
            if problem:
                raise InputError(f'{name} {problem}')


SPECS: dict[str, tuple[Any, Spec]] = specs_of(PipelineOptions)
NAMES = tuple(SPECS)


def changed(options: PipelineOptions, changes: dict[str, Any]) -> PipelineOptions:
    """The options with some of them replaced. Raises InputError for a name that there is not."""
    unknown = sorted(set(changes) - set(NAMES))
    if unknown:
        raise InputError(f'there is no option {", ".join(unknown)}: there are {", ".join(NAMES)}')
    return replace(options, **changes)


def _problem(name: str, value: Any, default: Any, spec: Spec) -> str | None:
    """What is wrong with the value of an option, or None."""
    if default is None:
        if value is None:
            return None
        default = 0.0
    kind = type(default)
    if kind is bool:
        if isinstance(value, bool) or (name == 'smoothing' and isinstance(value, SmootherOptions)):
            return None
    elif isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool):
        return spec.problem(value)
    return f'must be {KINDS[kind]}, not {value!r}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command the options: ``--max-people N``, ``--no-smoothing`` and so on."""
    group = parser.add_argument_group('who is in the image, and over time')
    for name, (default, spec) in SPECS.items():
        told = " (default: the detector's own)" if default is None else f' (default: {default})'
        flag = f'--{name.replace("_", "-")}'
        if isinstance(default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=spec.description)
        else:
            kind = float if default is None else type(default)
            group.add_argument(
                flag,
                type=kind,
                default=default,
                choices=spec.choices,
                metavar='N' if kind is int else 'X',
                help=spec.description + told,
            )


def from_arguments(args: argparse.Namespace) -> PipelineOptions:
    """The options that a command was given."""
    return PipelineOptions(**{name: getattr(args, name) for name in NAMES})

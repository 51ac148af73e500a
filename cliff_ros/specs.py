"""What is known of an option besides its name and default: said once, beside the field of a dataclass.

The options of the pipeline, the parameters of the nodes and the configuration of a training are such fields. Who reads
values from elsewhere, checks them by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

# The types of options, as they are called in sentences.
KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a string'}


@dataclass(frozen=True)
class Spec:
    """description: what the option does, with its unit. range: smallest and largest value. choices: all values."""

    description: str
    range: tuple[float, float] | None = None
    choices: tuple[Any, ...] | None = None

    def problem(self, value: Any, show: Callable[[Any], str] = repr) -> str | None:
        """What is wrong with a value of the right type, such as 'must lie in 0 .. 1, not 2'; None where nothing is.

        show: makes a value from outside into a part of a sentence.
        """
        if self.range and not self.range[0] <= value <= self.range[1]:
            return f'must lie in {self.range[0]} .. {self.range[1]}, not {value}'
        if self.choices and value not in self.choices:
            return f'must be one of {", ".join(map(str, self.choices))}, not {show(value)}'
        return None


def specified(default: Any, spec: Spec) -> Any:
    """A field of a dataclass that is an option."""
    return field(default=default, metadata={'spec': spec})


def specs_of(kind: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (default, what is known of it) of the options of a dataclass, in order."""
    return {one.name: (one.default, one.metadata['spec']) for one in fields(kind)}

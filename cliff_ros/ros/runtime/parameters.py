"""Parameters declared from a dataclass, and checked so that a wrong value never takes a node down."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from cliff_ros.errors import InputError
from cliff_ros.ros.runtime.complaints import shortened
from cliff_ros.specs import KINDS, Spec, specified, specs_of

Settings = TypeVar('Settings')
LONGEST_TEXT = 4096  # as long as a path can be
_NOT_OURS = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')


class When(Enum):
    """When a parameter may change."""

    LIVE = 'takes effect at once'
    SETUP = 'takes effect when the node is configured'
    START = 'can only be given when the node is started'


@dataclass(frozen=True)
class ParameterSpec(Spec):
    """check: what is wrong with a value, or None."""

    when: When = When.SETUP
    check: Callable[[Any], str | None] | None = None


def parameter(
    default: Any,
    description: str,
    when: When = When.SETUP,
    *,
    range: tuple[float, float] | None = None,
    choices: tuple[Any, ...] | None = None,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """A dataclass field that is a ROS parameter."""
    return specified(default, ParameterSpec(description, range, choices, when, check))


class Parameters(Generic[Settings]):
    """Declares the fields of a dataclass of ``parameter`` fields as the parameters of a node.

    A value that cannot be used at start (from a file or the command line) does not stop the node: the default
    stands in, and ``settings()`` raises InputError with the sentence until a good value is set. Later changes
    are refused with a sentence and the old value stays; ``on_change(settings)`` hears of those accepted.
    """

    def __init__(self, node: Node, kind: type[Settings], on_change: Callable[[Settings], None] | None = None) -> None:
        self.locked = False  # True while the node is configured: SETUP parameters cannot change
        self._node = node
        self._kind = kind
        self._on_change = on_change or (lambda settings: None)
        specs: dict[str, tuple[Any, ParameterSpec]] = specs_of(kind)
        self._specs = {name: spec for name, (_, spec) in specs.items()}
        self._types = {name: type(default) for name, (default, _) in specs.items()}
        self._problems: dict[str, str] = {}
        for name, (default, spec) in specs.items():
            self._declare(name, default, spec)
        self._report_unknown()
        node.add_on_set_parameters_callback(self._review)

    def settings(self) -> Settings:
        """The current values. Raises InputError where one given at start cannot be used."""
        if self._problems:
            raise InputError('; '.join(self._problems.values()))
        return self.current()

    def current(self) -> Settings:
        """The current values, with defaults for those that could not be used."""
        return self._with({})

    def _with(self, changed: Mapping[str, Any]) -> Settings:
        values = {name: self._node.get_parameter(name).value for name in self._specs}
        return self._kind(**{**values, **changed})

    def _declare(self, name: str, default: Any, spec: ParameterSpec) -> None:
        descriptor = _descriptor(spec, default)
        try:
            value = self._node.declare_parameter(name, default, descriptor).value
        except (InvalidParameterTypeException, InvalidParameterValueException):
            value = self._node._parameter_overrides[name].value
            if type(default) is float and type(value) is int:  # `rate: 15` in a file is meant as 15.0
                value = float(value)
            usable = type(value) is type(default) and self._problem(name, value) is None
            self._node.declare_parameter(name, value if usable else default, descriptor, ignore_override=True)
        problem = self._problem(name, value)
        if problem:
            self._problems[name] = problem
            self._node.get_logger().error(f'{problem}; then configure the node.')

    def _problem(self, name: str, value: Any) -> str | None:
        """A sentence on what is wrong with a value, or None."""
        spec, kind = self._specs[name], self._types[name]
        if type(value) is not kind:
            return f"parameter '{name}' must be {KINDS[kind]}, not {shortened(value)}: correct it"
        if kind is str and (len(value) > LONGEST_TEXT or '\0' in value):
            return (
                f"parameter '{name}' must be a string of at most {LONGEST_TEXT} characters without zero bytes, not "
                f'{shortened(value)}: correct it'
            )
        problem = spec.problem(value, shortened)
        if problem:
            return f"parameter '{name}' {problem}: correct it"
        wrong = spec.check(value) if spec.check else None
        return f"parameter '{name}' {wrong}" if wrong else None

    def _review(self, changed: list[Parameter[Any]]) -> SetParametersResult:
        if any(not p.name for p in changed):  # rclpy would make one
            return SetParametersResult(successful=False, reason='there is no parameter without a name')
        ours = [p for p in changed if p.name in self._specs]
        for p in ours:
            if self.locked and self._specs[p.name].when is When.SETUP:
                name = self._node.get_fully_qualified_name()
                return SetParametersResult(
                    successful=False,
                    reason=(
                        f"parameter '{p.name}' {When.SETUP.value}: run `ros2 lifecycle set {name} deactivate` "
                        f'and `... cleanup` first, then set it and configure again'
                    ),
                )
            problem = self._problem(p.name, p.value)
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        for p in ours:
            self._problems.pop(p.name, None)
        if ours:
            self._on_change(self._with({p.name: p.value for p in ours}))
        return SetParametersResult(successful=True)

    def _report_unknown(self) -> None:
        for name in getattr(self._node, '_parameter_overrides', {}):
            if name not in self._specs and not name.startswith(_NOT_OURS):
                near = difflib.get_close_matches(name, self._specs, 1)
                hint = f"did you mean '{near[0]}'?" if near else f'there are {", ".join(self._specs)}'
                self._node.get_logger().warning(f'there is no parameter {shortened(name)} ({hint}): it has no effect.')


def _descriptor(spec: ParameterSpec, default: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=f'{spec.description} ({spec.when.value})', read_only=spec.when is When.START
    )
    if spec.choices:
        descriptor.additional_constraints = f'one of {", ".join(map(str, spec.choices))}'
    if spec.range:
        low, high = spec.range
        if isinstance(default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor

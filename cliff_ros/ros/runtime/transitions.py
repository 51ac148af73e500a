"""Who asks for a transition gets it where a user may ask for it now, and a sentence in the log otherwise.

rclpy begins whatever is asked for: in the middle of a transition that other callbacks are served in (patience.py),
anybody could ask for ``transition_success``, and the node would be taken for inactive before it has loaded. And each
request that is not possible writes a line into the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState

from cliff_ros.ros.runtime.complaints import shortened

if TYPE_CHECKING:
    from cliff_ros.ros.node import CliffNode

Change = Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response]
# Higher numbers are the outcomes of transitions.
_OF_USERS = range(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVE_SHUTDOWN + 1)
_FIRST_TRANSITION_STATE = State.TRANSITION_STATE_CONFIGURING


def guard_lifecycle(node: CliffNode) -> None:
    """Guard the services of the lifecycle, which rclpy makes past ``create_service``."""
    for service in node.services:
        if service.srv_type.__module__.startswith('lifecycle_msgs.'):
            callback = service.callback
            if service.srv_type is ChangeState:
                callback = _judged(node, callback)
            service.callback = node.guard_request(service.srv_name, callback)


def _judged(node: CliffNode, change: Change) -> Change:
    def judge(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        asked = request.transition
        name = shortened(asked.label) if asked.label else f'number {asked.id}'
        (number, state), possible = node.lifecycle_state, {}
        for transition, label, *_ in node.lifecycle_transitions:
            if transition in _OF_USERS:
                possible[transition] = label
        response.success = False
        if number >= _FIRST_TRANSITION_STATE:
            node.complain(
                'transition under way',
                (f'The transition {name} was asked for while the node is {state}: ask again when that is done.'),
            )
        elif (asked.label not in possible.values()) if asked.label else (asked.id not in possible):
            node.complain(
                'transition impossible',
                (
                    f'The transition {name} was asked for while the node is {state}: '
                    + (f'possible now are {", ".join(possible.values())}.' if possible else 'start the node anew.')
                ),
            )
        else:
            return change(request, response)
        return response

    return judge

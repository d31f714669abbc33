# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One guard for lifecycle transitions, and one for the services that ask for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn


def guarded(otherwise: TransitionCallbackReturn) -> Callable[..., Any]:
    """
    Make a method, which returns nothing, a transition that fails with a reason.

    rclpy would swallow what it raises. `node.on_failed(name, error)` is called to undo and to
    tell; a transition that succeeds is told by `node.on_done(name)`.

    :param otherwise: FAILURE goes back to where the transition began, which only `on_failed` can
        make true; ERROR goes on to `on_error`
    """
    def decorate(method: Callable[[Any, LifecycleState], None]) -> Callable[..., Any]:
        name = method.__name__.removeprefix('on_')

        @wraps(method)
        def transition(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                method(node, state)
            except Exception as error:
                node.on_failed(name, error)
                return otherwise
            node.on_done(name)
            return TransitionCallbackReturn.SUCCESS
        return transition
    return decorate


def guard_services(node: LifecycleNode) -> None:
    """
    Let every service of a node answer a request that it cannot serve, and say so in the log.

    What a callback of rclpy raises, as for a transition that the state does not have, or a
    parameter of no known type, would otherwise end the process and leave the client waiting.
    """
    # rclpy's callbacks are private, so they are wrapped where the executor finds them.
    for service in node.services:
        service.callback = _answering(node, service, service.callback)


def _answering(node: LifecycleNode, service: Any,
               callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def answer(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except Exception as error:
            reason = _reason(node, request, error)
            node.get_logger().error(f'{service.srv_name} refused: {reason}')
            return refusal(service.srv_type.Response(), request, reason)
    return answer


def _reason(node: Any, request: Any, error: Exception) -> str:
    asked = getattr(request, 'transition', None)
    if asked is None:
        return f'{type(error).__name__}: {error}'
    return (f'transition {asked.label or asked.id!r} is not possible in state '
            f'{state_of(node)!r}')


def state_of(node: LifecycleNode) -> str:
    """Return the label of a node's state, which rclpy has no public word for."""
    return str(node._state_machine.current_state[1])


def refusal(response: Any, request: Any, reason: str) -> Any:
    """Return an empty response, which says no, with the reason where it has a place for one."""
    if hasattr(response, 'result') and hasattr(response.result, 'reason'):
        response.result.reason = reason
    elif hasattr(response, 'results'):         # of set_parameters: one for each parameter
        kind = response.__class__.get_fields_and_field_types()['results']
        assert 'SetParametersResult' in kind
        from rcl_interfaces.msg import SetParametersResult
        response.results = [SetParametersResult(successful=False, reason=reason)
                            for _ in request.parameters]
    return response

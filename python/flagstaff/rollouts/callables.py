"""Calls the guards that are functions of the project."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.module_loading import import_string

from flagstaff.rollouts.guards import CALLABLE, Guard, guards_from_json
from flagstaff.rollouts.models import Plan

__all__ = ["Outcome", "call_guards"]

_MAX_TEXT = 500


@dataclass(frozen=True)
class Outcome:
    """What a callable guard returned."""

    guard: Guard
    #: None: it raised an exception, or returned something else than True, False or a text.
    fine: bool | None
    why: str


def call_guards(plan: Plan) -> tuple[Outcome, ...]:
    """Calls the callable guards of a plan, each with the plan. Blocks as long as they do.

    To be called outside of a transaction, so that a slow function does not keep people's changes
    of the plan or of the flag waiting.
    """
    guards = guards_from_json(plan.guards)
    return tuple(_call(guard, plan) for guard in guards if guard.kind == CALLABLE)


def _call(guard: Guard, plan: Plan) -> Outcome:
    try:
        returned = import_string(guard.path or "")(plan)
    except Exception as error:  # noqa: BLE001 (the project's function may raise anything)
        # Only the type: the message may quote data.
        return Outcome(guard, None, f"{guard.path} raised {type(error).__name__}")
    if returned is True:
        return Outcome(guard, fine=True, why="")
    if returned is False:
        return Outcome(guard, fine=False, why=f"{guard.path} returned False")
    if isinstance(returned, str):
        text = returned.strip()[:_MAX_TEXT]
        return Outcome(guard, fine=False, why=f"{guard.path}: {text}" if text else str(guard.path))
    why = f"{guard.path} returned {type(returned).__name__}; return True, False or a text"
    return Outcome(guard, None, why)

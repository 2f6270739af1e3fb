"""Rewrites one call of django-waffle: its arguments, which differ from flagstaff's."""

from __future__ import annotations

import ast
from collections.abc import Callable

__all__ = ["key_of", "new_arguments"]

_KEYS = ("flag_name", "switch_name", "sample_name", "name")
_STATES = ("active", "everyone", "percent")

Source = Callable[[ast.expr], str]


def key_of(full: str, call: ast.Call) -> ast.expr | None:
    """Returns the expression of the key."""
    position = 1 if full == "waffle.flag_is_active" else 0
    return _argument(call, position, *_KEYS)


def new_arguments(full: str, call: ast.Call, source: Source) -> str | None:
    """Returns the arguments for flagstaff, or None if the call has no key."""
    key = key_of(full, call)
    if key is None or any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    if full == "waffle.flag_is_active":
        return _evaluation(call, key, source)
    if full.startswith("waffle.testutils."):
        return f"{source(key)}, {_state(call, source)}"
    return source(key)


def _evaluation(call: ast.Call, key: ast.expr, source: Source) -> str | None:
    request = _argument(call, 0, "request")
    if request is None:
        return None
    user = "None" if isinstance(request, ast.Constant) else f"{source(request)}.user"
    if len(call.args) > 1 and not call.keywords and key.lineno != request.lineno:
        # Keeps a call of several lines, whose key is not on the first one.
        return "\n".join([source(key) + ",", " " * request.col_offset + user])
    return f"{source(key)}, {user}"


def _state(call: ast.Call, source: Source) -> str:
    state = _argument(call, 1, *_STATES)
    if state is None:
        return "enabled=True"
    text = source(state)
    if isinstance(state, ast.Constant) and not isinstance(state.value, bool):
        text = str(bool(state.value))
    return text if len(call.args) > 1 else f"enabled={text}"


def _argument(call: ast.Call, position: int, *names: str) -> ast.expr | None:
    if position < len(call.args):
        return call.args[position]
    return next((k.value for k in call.keywords if k.arg in names), None)

"""The keys in `call_command("flags", "on", "key")`."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import Name, Text

__all__ = ["command_keys"]

_COMMANDS = ("django.core.management.call_command", "call_command")
# Verbs of `manage.py flags` with several keys of flags, and those that begin with one.
_MANY = frozenset({"delete", "export", "history", "kill", "off", "on", "references", "show"})
_ONE = frozenset(
    {"allow", "create", "explain", "impact", "plan", "restore", "rollout", "set-rules", "snooze"}
    | {"test", "undo", "update", "usage"}
)
#: The command and its verb.
_BEFORE = 2


def command_keys(
    node: cst.Call, scope: Scope, evaluator: Evaluator
) -> Iterator[cst.BaseExpression]:
    """Yields the expressions of the keys of flags that a call passes to `manage.py flags`."""
    positional = [one.value for one in node.args if one.keyword is None and not one.star]
    if len(positional) <= _BEFORE or not _is_command(node, scope, evaluator):
        return
    command, verbs = (evaluator.evaluate(one, scope) for one in positional[:_BEFORE])
    if command != (Text("flags"),):
        return
    verb = {one.text for one in verbs if isinstance(one, Text)}
    if verb & _MANY:
        yield from (one for one in positional[_BEFORE:] if not _is_option(one))
    elif verb & _ONE:
        yield positional[_BEFORE]


def _is_command(node: cst.Call, scope: Scope, evaluator: Evaluator) -> bool:
    return any(
        isinstance(one, Name) and one.name in _COMMANDS
        for one in evaluator.evaluate(node.func, scope)
    )


def _is_option(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.SimpleString) and node.raw_value.startswith("-")

"""Texts that name something of waffle: mocks, models, migrations, commands, code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import libcst as cst
import libcst.matchers as m

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.naming import key_of, last_name
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.templates import Lines
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.reasons import Left, Reason

_WAFFLE = "waffle"
_NAME = re.compile(r"(?:\w+\.)*waffle(?:\.\w+)+|(?:\w+\.)+(?:flag|switch|sample)_is_active")
_CODE = re.compile(r"(?m)^\s*(?:from|import)\s+waffle\b")
_COMMAND = re.compile(r"waffle_(?:flag|switch|sample|delete)")
# Not the name of a setting or of a step.
_COMMAND_LINE = re.compile(rf"(?<![\w.-]){_COMMAND.pattern}(?=\s+[^\s:=]|\\|[\"']|$)", re.MULTILINE)
# Methods that make no row.
_READS = frozenset({"exclude", "filter", "get"})


def texts_of_waffle(
    module: Module, parents: Mapping[cst.CSTNode, cst.CSTNode]
) -> Iterator[tuple[cst.CSTNode, Reason]]:
    """Yields the texts of a module that name something of waffle, and why a person sees them."""
    parts = module.path.replace("\\", "/").split("/")
    is_migration = "migrations" in parts
    # The page about the way from waffle says what to do with settings.
    is_settings = "settings" in "/".join(parts[-2:])
    for node in m.findall(module.tree, m.SimpleString() | m.FormattedStringText()):
        parent = parents[node]
        if isinstance(parent, cst.Expr):
            continue
        call = parents.get(parent)
        called = last_name(call.func) if isinstance(call, cst.Call) else ""
        text = node.raw_value if isinstance(node, cst.SimpleString) else node.value  # type: ignore[attr-defined]
        reason = _reason(text, called, is_migration=is_migration)
        if reason is not None and not (is_settings and reason == reasons.PATCH_OF_WAFFLE):
            yield node, reason


def _reason(text: str, called: str, *, is_migration: bool) -> Reason | None:
    if _COMMAND.fullmatch(text):
        return reasons.COMMAND if called == "call_command" else None
    if _CODE.search(text):
        return reasons.CODE
    if "manage" in text and _COMMAND_LINE.search(text):
        return reasons.COMMAND
    is_name = _NAME.fullmatch(text) is not None
    if is_migration:
        return reasons.MIGRATION if is_name or text == _WAFFLE else None
    if called == "get_model" and (is_name or text == _WAFFLE):
        return reasons.MODEL
    return reasons.PATCH_OF_WAFFLE if is_name else None


def commands_in(path: str, text: str) -> Iterator[Left]:
    """Yields the places of a shell script, or of another such file, that call waffle's commands."""
    lines = Lines(text)
    for found in _COMMAND_LINE.finditer(text):
        line, column = lines.place(found.start())
        yield reasons.COMMAND.at(path, line, column + 1, lines.text(line).strip())


def migrated_names(module: Module, evaluator: ExpressionEvaluator) -> Iterator[str]:
    """Yields the names of the rows that a migration makes by waffle's models."""
    if "migrations" not in module.path.split("/") or "get_model" not in module.source:
        return
    for call, scope in module.found.calls:
        for arg in call.args:
            is_name = arg.keyword is not None and arg.keyword.value == "name"
            if is_name and last_name(call.func) not in _READS:
                yield from filter(None, map(key_of, evaluator.evaluate(arg.value, scope)))

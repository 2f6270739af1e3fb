"""Templates in strings of Python: `Template("{% load flagstaff %}{% flag 'new' %}…")`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.model import Reference
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.prefilter import template_may_have_keys
from flagstaff.cleanup.references.templates import Setup, in_template
from flagstaff.cleanup.references.values import Text

__all__ = ["in_strings"]


def in_strings(module: Module, evaluator: Evaluator) -> Iterator[Reference]:
    """Yields the references in strings that are templates, except in docstrings."""
    for node, scope in module.found.strings:
        for value in evaluator.evaluate(node, scope):
            if not isinstance(value, Text):
                continue
            data = value.text.encode("utf-8", "replace")
            found = in_template("", data, Setup()) if template_may_have_keys(data) else []
            if found:
                line, column = module.start(node)
                # Only a string in one piece has its lines where the file has them.
                is_long = value.text in module.source
                yield from (_placed(one, module, line, column, is_long=is_long) for one in found)


def _placed(one: Reference, module: Module, line: int, column: int, *, is_long: bool) -> Reference:
    below = one.line - 1 if is_long else 0
    return replace(
        one,
        path=module.path,
        line=line + below,
        column=one.column if below else column + 1,
        code=module.lines[line + below - 1].strip(),
    )

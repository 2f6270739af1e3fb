"""Where texts are raised: each gets the values that its English names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flagstaff import exceptions

PACKAGE = Path(exceptions.__file__).parent
# Its other arguments are no values.
RAISED = {"Text", *exceptions.__all__} - {"ConflictError"}


def texts_in(source: str) -> Iterator[tuple[ast.Call, str | None]]:
    """Yields the calls that raise a text, with its English; None for an f-string."""
    tree = ast.parse(source)
    constants: dict[str, str] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(
                [ast.Name(name)], ast.Call(ast.Name("marked"), [ast.Constant(str(text))])
            ):
                constants[name] = text
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name(name), [first, *_]) if name in RAISED:
                match first:
                    case ast.Constant(str(text)):
                        yield node, text
                    case ast.Name(constant) if constant in constants:
                        yield node, constants[constant]
                    case ast.JoinedStr():
                        yield node, None


def problems(source: str) -> list[str]:
    """Returns the texts whose values are not those that their English names."""
    found = []
    for call, english in texts_in(source):
        given = {keyword.arg for keyword in call.keywords}
        if english is None:
            found.append(f"line {call.lineno}: an f-string is in no catalogue")
        elif None not in given and given != set(re.findall(r"\{(\w+)\}", english)):
            found.append(f"line {call.lineno}: {english}")
    return found


def test_text_gets_the_values_that_its_english_names() -> None:
    files = PACKAGE.rglob("*.py")
    found = {str(path): problems(path.read_text(encoding="utf-8")) for path in files}
    assert {path: texts for path, texts in found.items() if texts} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('Text("no flag {key}", key=1)', 0),
        ('Text("no flag {key}", **values)', 0),
        ('Text("no flag {key}")', 1),
        ('Text("no flag {key}", name=1)', 1),
        ('Text("no flag {key}", key=1, name=1)', 1),
        ('_NO_FLAG = marked("no flag {key}")\nraise UnknownFlagError(_NO_FLAG, name=1)', 1),
        ('PlanError(f"no flag {key}")', 1),
    ],
)
def test_wrong_values_of_a_text_are_found(source: str, count: int) -> None:
    assert len(problems(source)) == count

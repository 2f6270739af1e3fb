"""Where texts are raised: each gets the values that its English names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flagstaff import exceptions

PACKAGE = Path(exceptions.__file__).parent
# Its other arguments are no values.
RAISED = {"say", *exceptions.__all__} - {"ConflictError"}


def texts_in(source: str) -> Iterator[tuple[ast.Call, str | None]]:
    """Yields the calls that raise or say a text, with its English; None for an f-string.

    A sentence without values can be filled in later, unless it is shown at once.
    """
    tree = ast.parse(source)
    shown = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"local", "lazy", "html"}
    }
    constants: dict[str, str] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("say"), [ast.Constant(str(text))])):
                constants[name] = text
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name("say"), _, []) if node not in shown:
                continue
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
    texts = []
    for call, english in texts_in(source):
        arguments = {keyword.arg for keyword in call.keywords}
        if english is None:
            texts.append(f"line {call.lineno}: an f-string is in no catalogue")
            continue
        names = set(re.findall(r"\{(\w+)\}", english))
        # The number that chooses the form need not be shown.
        names |= {"count"} & arguments if len(call.args) > 1 else set()
        if None not in arguments and arguments != names:
            texts.append(f"line {call.lineno}: {english}")
    return texts


def test_text_gets_the_values_that_its_english_names() -> None:
    files = PACKAGE.rglob("*.py")
    by_file = {str(path): problems(path.read_text(encoding="utf-8")) for path in files}
    assert {path: texts for path, texts in by_file.items() if texts} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('say("no flag {key}", key=1)', 0),
        ('say("no flag {key}", **values)', 0),
        ('say("no flag {key}")', 0),
        ('say("no flag {key}").local', 1),
        ('say("{keys} was lost", "{keys} were lost", count=2, keys=keys)', 0),
        ('say("{keys} was lost", count=2, keys=keys)', 1),
        ('say("no flag {key}", name=1)', 1),
        ('say("no flag {key}", key=1, name=1)', 1),
        ('_NO_FLAG = say("no flag {key}")\nraise UnknownFlagError(_NO_FLAG, name=1)', 1),
        ('PlanError(f"no flag {key}")', 1),
    ],
)
def test_wrong_values_of_a_text_are_found(source: str, count: int) -> None:
    assert len(problems(source)) == count

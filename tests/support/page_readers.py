"""Which blocks of the pages are taken by tests, read from the code of the tests."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent.parent
#: Functions of tests that take blocks of a page: their arguments after it, and their language.
READERS = {
    "code_of": (["language", "having"], ""),
    "names_of": (["having", "language"], "python"),
    "json_of": (["having"], "json"),
}


class Reader(NamedTuple):
    """A call that takes blocks of a page."""

    page: str
    language: str
    having: str


def readers() -> Iterator[Reader]:
    """Yields the calls in all tests whose arguments are texts, or constants of their file."""
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text())
        texts = dict(_constants(tree))
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[page, *arguments], keywords=words) if (
                    name in READERS
                ):
                    names, language = READERS[name]
                    arguments_by_name = dict(zip(names, arguments, strict=False))
                    arguments_by_name |= {
                        word.arg: word.value for word in words if word.arg in names
                    }
                    values = {key: _text(value, texts) for key, value in arguments_by_name.items()}
                    values = {"language": language, "having": "", **values}
                    yield Reader(_text(page, texts), **values)


def _text(node: ast.expr, texts: dict[str, str]) -> str:
    """Returns the text of an argument, or one that no page has."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return texts.get(node.id, "?") if isinstance(node, ast.Name) else "?"


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields the names at the top of a file that are texts."""
    for line in tree.body:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=False):
                    yield ast.unparse(target), _text(value, {})

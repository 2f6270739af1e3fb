"""Writes the catalogue of messages that translators start from, and updates the translations.

    python -m tools.messages

Keeps what is translated, and drops messages that no longer exist. A message that is like an old one
gets the old translation, marked as fuzzy. Needs GNU gettext.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from flagstaff import _core, exceptions
from flagstaff._text import CONTEXT

__all__ = ["POT", "merged", "messages", "messages_of", "translations", "write_binary"]

_PACKAGE = Path(__file__).resolve().parent.parent / "python" / "flagstaff"
POT = _PACKAGE / "locale" / "django.pot"
#: An English text and its plural, empty without one.
_Message = tuple[str, str]

_HEADER = """\
# Messages of django-flagstaff, for translators. `make messages` writes this file.
msgid ""
msgstr ""
"Project-Id-Version: django-flagstaff\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n"
"""

# What takes the English of a sentence as its first argument.
_CALLS = {"say", *exceptions.__all__}
_LITERAL = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_TAG = re.compile(rf"{{% say {_LITERAL}(?: {_LITERAL})?(?=[ ])")
_BLOCK = re.compile(
    rf'{{% blocktranslate trimmed context "{CONTEXT}" %}}(.*?){{% endblocktranslate %}}', re.DOTALL
)


def messages() -> str:
    """Returns the catalogue of the code as it is now."""
    places: dict[_Message, list[str]] = {}
    for path in sorted([*_PACKAGE.rglob("*.py"), *_PACKAGE.rglob("*.html")]):
        name = path.relative_to(_PACKAGE).as_posix()
        for message in [*messages_of(path.read_text(encoding="utf-8"), name), *_texts_beside(name)]:
            files = places.setdefault(message, [])
            if name not in files:
                files.append(name)
    entries = (_entry(*message, files) for message, files in places.items())
    return "\n".join([_HEADER, *entries])


def messages_of(source: str, name: str) -> Iterator[_Message]:
    """Yields the messages of a module or a template."""
    if name.endswith(".html"):
        for match in _TAG.finditer(source):
            yield ast.literal_eval(match[1]), ast.literal_eval(match[2]) if match[2] else ""
        for match in _BLOCK.finditer(source):
            yield " ".join(line.strip() for line in match[1].strip().splitlines()), ""
        return
    nodes = [*ast.walk(ast.parse(source))]
    names = {*_CALLS, *_own_errors(nodes)}
    calls = (node for node in nodes if isinstance(node, ast.Call))
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        match call:
            case ast.Call(ast.Name("say"), [ast.Constant(str(text)), ast.Constant(str(plural))]):
                yield text, plural
            case ast.Call(ast.Name(called), [ast.Constant(str(text)), *_]) if called in names:
                yield text, ""


def _own_errors(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yields the names of the errors that a module derives from those of the package."""
    for node in nodes:
        match node:
            case ast.ClassDef(bases=[ast.Name(base), *_]) if base in exceptions.__all__:
                yield node.name


def _texts_beside(name: str) -> Iterable[_Message]:
    """Returns the default messages of exceptions, their docstrings; and the texts of the core."""
    if name == "exceptions.py":
        classes = (getattr(exceptions, name) for name in exceptions.__all__)
        return [(str(inspect.getdoc(of)), "") for of in classes]
    return [(text, "") for text in _core.texts()] if name == "validators.py" else []


def _entry(text: str, plural: str, files: Iterable[str]) -> str:
    lines = [*(f"#: {name}" for name in files)]
    if re.search(r"(?<!{){\w+}", text):
        lines.append("#, python-brace-format")
    lines += [f"msgctxt {_quoted(CONTEXT)}", f"msgid {_quoted(text)}"]
    if plural:
        lines += [f"msgid_plural {_quoted(plural)}", 'msgstr[0] ""', 'msgstr[1] ""']
    else:
        lines.append('msgstr ""')
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def translations() -> list[Path]:
    """Returns the file of each language in the package."""
    return sorted(POT.parent.glob("*/LC_MESSAGES/django.po"))


def merged(translation: Path, catalogue: Path) -> str:
    """Returns the text of a translation with the messages of the catalogue, in its order."""
    # Locations are in the catalogue only: they would change each language's file with the code.
    options = ("--quiet", "--previous", "--no-location", "--no-wrap")
    text = _output("msgmerge", *options, str(translation), str(catalogue))
    return _output("msgattrib", "--no-obsolete", "--no-wrap", "-", text=text)


def write_binary(translation: Path) -> None:
    """Compiles a translation into the file beside it that Django reads.

    Raises CalledProcessError if a placeholder of a translation is not in its message.
    """
    _output("msgfmt", "--check-format", "-o", str(translation.with_suffix(".mo")), str(translation))


def _output(*command: str, text: str = "") -> str:
    return subprocess.run(
        command, input=text, encoding="utf-8", stdout=subprocess.PIPE, check=True
    ).stdout


def _write() -> None:
    POT.parent.mkdir(exist_ok=True)
    POT.write_text(messages(), encoding="utf-8")
    for translation in translations():
        translation.write_text(merged(translation, POT), encoding="utf-8")
        write_binary(translation)


if __name__ == "__main__":
    _write()

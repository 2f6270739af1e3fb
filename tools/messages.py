"""Writes the catalogue of messages that translators start from, and updates the translations.

    python -m tools.messages

Keeps what is translated, and drops messages that no longer exist. A message that is like an old one
gets the old translation, marked as fuzzy. Needs GNU gettext.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flagstaff import exceptions

__all__ = ["POT", "merged", "messages", "translations", "write_binary"]

_PACKAGE = Path(__file__).resolve().parent.parent / "python" / "flagstaff"
POT = _PACKAGE / "locale" / "django.pot"

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


def messages() -> str:
    """Returns the catalogue of the code as it is now."""
    with tempfile.TemporaryDirectory(prefix="flagstaff-messages-") as folder:
        # makemessages writes beside the code that it reads.
        package = Path(folder) / _PACKAGE.name
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "locale")
        shutil.copytree(_PACKAGE, package, ignore=ignored)
        _add_docstrings(package)
        found = package / "locale" / POT.name
        found.parent.mkdir()
        options = ("--all", "--keep-pot", "--no-wrap", "--add-location", "file")
        # Not `python -m django`: that would import flagstaff/typing.py as the module "typing".
        program = str(Path(sys.executable).with_name("django-admin"))
        settings = {"DJANGO_SETTINGS_MODULE": ""}
        subprocess.run(
            [program, "makemessages", *options],
            cwd=package,
            env={**os.environ, **settings},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        text = found.read_text(encoding="utf-8")
    # The header of xgettext has the time, so each run would change the file.
    _header, entries = re.split(r"\n\n", text, maxsplit=1)
    return f"{_HEADER}\n{entries}"


def _add_docstrings(package: Path) -> None:
    """Marks the default messages of exceptions, which are docstrings, as messages."""
    texts = (inspect.getdoc(getattr(exceptions, name)) for name in exceptions.__all__)
    with (package / "exceptions.py").open("a", encoding="utf-8") as file:
        file.writelines(f"_({text!r})\n" for text in texts)


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

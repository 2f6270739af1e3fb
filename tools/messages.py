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
import tempfile
from pathlib import Path

from django.core.management import call_command
from django.core.management.commands import makemessages

from flagstaff import _core, exceptions

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


class _Command(makemessages.Command):
    """Finds the texts of the package, too. Their percent signs are no placeholders."""

    _names = ["Text", "marked", *exceptions.__all__]
    xgettext_options = [
        *makemessages.Command.xgettext_options,
        *(f"--keyword={name}:1" for name in _names),
        *(f"--flag={name}:1:no-python-format" for name in _names),
    ]


def messages() -> str:
    """Returns the catalogue of the code as it is now."""
    with tempfile.TemporaryDirectory(prefix="flagstaff-messages-") as folder:
        # makemessages writes beside the code that it reads.
        package = Path(folder) / _PACKAGE.name
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "locale")
        shutil.copytree(_PACKAGE, package, ignore=ignored)
        _add_texts(package)
        found = package / "locale" / POT.name
        found.parent.mkdir()
        before = Path.cwd()
        os.chdir(package)
        try:
            call_command(
                _Command(), all=True, keep_pot=True, no_wrap=True, add_location="file", verbosity=0
            )
        finally:
            os.chdir(before)
        text = found.read_text(encoding="utf-8")
    # The header of xgettext has the time, so each run would change the file.
    _header, entries = re.split(r"\n\n", text, maxsplit=1)
    return f"{_HEADER}\n{entries}"


def _add_texts(package: Path) -> None:
    """Marks the texts of the core, and the default messages of exceptions, which are docstrings."""
    docstrings = [inspect.getdoc(getattr(exceptions, name)) for name in exceptions.__all__]
    for name, texts in (("exceptions.py", docstrings), ("_core.py", _core.texts())):
        with (package / name).open("a", encoding="utf-8") as file:
            file.writelines(f"marked({text!r})\n" for text in texts)


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

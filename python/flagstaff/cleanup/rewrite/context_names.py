"""Names that the Python code of a project may give to templates, as variables of their context."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flagstaff.cleanup.references.files import LimitError, is_python, read

# The key of a dict and the start of its value, a key that is assigned to, and a keyword.
_NAME = re.compile(
    r"""(?P<quote>["'])(?P<key>\w+)(?P=quote)\s*(?:
        :(?!\s*(?P=quote)(?P=key)(?P=quote)) | \]\s*=(?!=)
    ) | (?<![\w.])(?P<keyword>\w+)=(?!=)""",
    re.VERBOSE,
)


class ContextNames:
    """The names, by a search for text: it finds too many rather than too few.

    A key whose value is the same text is left out: a tag without quotes has that name anyway.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._files = files
        self._names: set[str] | None = None

    def __contains__(self, name: str) -> bool:
        if self._names is None:
            self._names = {name for path in self._files if is_python(path) for name in _in(path)}
        return name in self._names


def _in(path: str) -> set[str]:
    try:
        text = read(path).decode(errors="replace")
    except (LimitError, OSError):
        return set()
    return {found["key"] or found["keyword"] for found in _NAME.finditer(text)}

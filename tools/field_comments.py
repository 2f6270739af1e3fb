"""Gives attributes their `#:` comments as docstrings, for the pages of the API."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, Docstring, Extension

_MARK = "#:"


class FieldComments(Extension):
    """Reads the comment above an attribute, as Sphinx does. Griffe itself reads only docstrings."""

    def on_attribute_instance(self, *, attr: Attribute, **kwargs: Any) -> None:
        if attr.docstring or attr.lineno is None or isinstance(attr.filepath, list):
            return
        lines: list[str] = []
        for line in reversed(attr.filepath.read_text().splitlines()[: attr.lineno - 1]):
            text = line.strip()
            if not text.startswith(_MARK):
                break
            lines.insert(0, text.removeprefix(_MARK).strip())
        if lines:
            attr.docstring = Docstring("\n".join(lines), parent=attr)

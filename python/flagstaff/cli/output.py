"""How a verb prints: a table for a person, tabs for a pipe, one document for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

from flagstaff.cli.cells import Column, Record, as_json, plain
from flagstaff.cli.layout import cut, fitting, side_by_side

__all__ = ["Output"]


class Output:
    """Where a verb prints. Data go to the standard output, messages to the standard error."""

    def __init__(
        self, stdout: OutputWrapper, stderr: OutputWrapper, style: Style, *, is_json: bool
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._style: Any = style
        self.is_json = is_json
        self.is_terminal = not is_json and stdout.isatty()

    @property
    def is_unicode(self) -> bool:
        """Whether data can be printed as they are."""
        return _is_unicode(self._stdout)

    def say(self, message: str) -> None:
        """Tell the person something, wherever the data go."""
        self._stderr.write(_writable(plain(message), self._stderr), str)

    def document(self, document: Any, *, indent: int | None = 2) -> None:
        """Print a JSON document."""
        self.line(as_json(document, ascii_only=not _is_unicode(self._stdout), indent=indent))

    def records(self, columns: Sequence[Column], records: Sequence[Record]) -> None:
        """Print many records, a line each."""
        # A project's own model need not have all the fields of ours.
        columns = [column for column in columns if records and column.name in records[0]]
        if self.is_json:
            self.document(records)
        elif self.is_terminal and records:
            self._table(columns, records)
        else:
            self._tabs([[column.for_pipe(record) for column in columns] for record in records])

    def record(self, columns: Sequence[Column], record: Record) -> None:
        """Print one record, a field a line."""
        if self.is_json:
            self.document(record)
        elif self.is_terminal:
            width = max(len(column.name) for column in columns)
            for column in columns:
                text = self._styled(column, record, column.for_person(record))
                self.line(f"{column.name:{width}}  {text}".rstrip())
        else:
            self._tabs([[column.name, column.for_pipe(record)] for column in columns])

    def lead(self, name: str, sentence: str) -> None:
        """Print the sentence that sums up what follows; in a pipe it is a field of this name."""
        if self.is_terminal:
            self.line(f"{plain(sentence)}\n")
        elif not self.is_json:
            self._tabs([[name, plain(sentence)]])

    def line(self, text: str) -> None:
        """Print a line of data as it is."""
        self._stdout.write(_writable(f"{text}\n", self._stdout))
        # A reader that has gone is noticed here, and not when the interpreter ends.
        self._stdout.flush()

    def _table(self, columns: Sequence[Column], records: Sequence[Record]) -> None:
        cells = [[column.for_person(record) for column in columns] for record in records]
        titles = [column.title for column in columns]
        widths = fitting(columns, [titles, *cells])
        self.line(self._style.MIGRATE_LABEL(side_by_side(columns, widths, titles, titles)))
        for record, row in zip(records, cells, strict=True):
            shown = [cut(cell, width) for cell, width in zip(row, widths, strict=True)]
            styled = [
                self._styled(column, record, cell)
                for column, cell in zip(columns, shown, strict=True)
            ]
            self.line(side_by_side(columns, widths, shown, styled))

    def _styled(self, column: Column, record: Record, text: str) -> str:
        role = column.role(record)
        return str(getattr(self._style, role)(text)) if role else text

    def _tabs(self, rows: Sequence[Sequence[str]]) -> None:
        for row in rows:
            self.line("\t".join(row))


def _is_unicode(stream: OutputWrapper) -> bool:
    return str(getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _writable(text: str, stream: OutputWrapper) -> str:
    """The text as an old terminal can show it."""
    if _is_unicode(stream):
        return text
    return text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)

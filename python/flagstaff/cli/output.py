"""How a verb prints: a table on a terminal, tabs in a pipe, one document with `--json`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unicodedata import combining, east_asian_width

from django.core.management.base import BaseCommand

from flagstaff._text.times import Column, Record, as_json, printable

_GAP = "  "
# Columns are not made narrower than this.
_MIN_WIDTH = 12
# The indent of the lines below a row.
_INDENT = " " * 4


class Output:
    """Prints data to the standard output and messages to the standard error."""

    def __init__(
        self, command: BaseCommand, options: Mapping[str, Any], *, is_process: bool
    ) -> None:
        self._stdout, self._stderr, self._style = command.stdout, command.stderr, command.style
        self.is_json: bool = options.get("json", False)
        #: True if everything is rolled back at the end.
        self.is_dry_run: bool = options.get("dry_run", False)
        #: True if nothing has to be confirmed: with --yes, or because nothing is written.
        self.is_confirmed: bool = self.is_dry_run or options.get("yes", False)
        self.is_terminal = not self.is_json and self._stdout.isatty()
        #: True if a person reads the output.
        self.is_interactive = self._stdout.isatty() or self._stderr.isatty()
        #: True if the command is a process of its own, and a person reads its messages.
        self.is_attended = is_process and self._stderr.isatty()

    def message(self, text: str) -> None:
        """Prints a message for a person to the standard error."""
        self._stderr.write(printable(text), str)

    def messages(self, texts: Iterable[str]) -> None:
        """Prints several messages."""
        for text in texts:
            self.message(text)

    def document(self, document: object, *, indent: int | None = 2) -> None:
        """Prints a JSON document."""
        self.line(as_json(document, indent=indent))

    def records(
        self,
        columns: Sequence[Column],
        records: Sequence[Record],
        *,
        document: object = None,
        empty: str = "",
    ) -> None:
        """Prints many records, one per line. Columns that the records do not have are left out.

        `document` is what `--json` prints in their place. `empty` is the message without records.
        """
        columns = [column for column in columns if records and column.name in records[0]]
        if empty and not records:
            self.message(empty)
        if self.is_json:
            self.document(records if document is None else document)
        elif self.is_terminal and records:
            self._table(columns, records)
        elif records:
            self.line("\t".join(column.name for column in columns))
            for record in records:
                self.line("\t".join(column.for_pipe(record) for column in columns))

    def record(self, columns: Sequence[Column], record: Record) -> None:
        """Prints one record, one field per line."""
        if self.is_json:
            self.document(record)
            return
        width = max(len(column.name) for column in columns)
        for column in columns:
            if self.is_terminal:
                text = self._styled(column.style(record), column.for_terminal(record))
                self.line(f"{column.name:{width}}  {text}".rstrip())
            else:
                self.line(f"{column.name}\t{column.for_pipe(record)}")

    def headline(self, name: str, sentence: str) -> None:
        """Prints the sentence above the data; in a pipe it is a field called `name`."""
        if self.is_terminal:
            self.line(f"{printable(sentence)}\n")
        elif not self.is_json:
            self.line(f"{name}\t{printable(sentence)}")

    def line(self, text: str) -> None:
        """Prints a line of data, unchanged."""
        self._stdout.write(f"{text}\n")
        # A closed pipe raises here, and not at the end of the interpreter.
        self._stdout.flush()

    def _table(self, columns: Sequence[Column], records: Sequence[Record]) -> None:
        """Prints a table as wide as the terminal, with the cells of some columns below each row."""
        below = [column for column in columns if column.below]
        columns = [column for column in columns if not column.below]
        titles = [column.title for column in columns]
        rows = [[column.for_terminal(record) for column in columns] for record in records]
        widths = _column_widths(columns, [titles, *rows])
        self.line(self._styled("MIGRATE_LABEL", self._row(columns, widths, titles, {})))
        for record, row in zip(records, rows, strict=True):
            self.line(self._row(columns, widths, row, record))
            text = " · ".join(filter(None, (column.for_terminal(record) for column in below)))
            width = max(shutil.get_terminal_size().columns, _MIN_WIDTH + len(_INDENT))
            for line in textwrap.wrap(
                text, width, initial_indent=_INDENT, subsequent_indent=_INDENT
            ):
                self.line(line)

    def _row(
        self,
        columns: Sequence[Column],
        widths: Sequence[int],
        cells: Sequence[str],
        record: Record,
    ) -> str:
        """Returns a row of a table. Without a record it is the header."""
        padded = []
        for column, width, cell in zip(columns, widths, cells, strict=True):
            text = _truncate(cell, width)
            space = " " * (width - _width(text))
            text = self._styled(column.style(record) if record else None, text)
            padded.append(f"{space}{text}" if column.align_right else f"{text}{space}")
        return _GAP.join(padded).rstrip()

    def _styled(self, style: str | None, text: str) -> str:
        return str(getattr(self._style, style)(text)) if style else text


def error_as_json(message: str, status: int) -> str:
    """Returns the document of an error: its exit status and its message."""
    return as_json({"error": {"status": status, "message": message}}, ascii_only=True)


def _column_widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Returns the widths; columns that may be truncated shrink until the row fits the terminal."""
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    present = sum(widths) + len(_GAP) * (len(widths) - 1)
    for _ in range(present - shutil.get_terminal_size().columns):
        flexible = [
            i for i, column in enumerate(columns) if column.truncate and widths[i] > _MIN_WIDTH
        ]
        if not flexible:
            break
        widths[max(flexible, key=lambda i: widths[i])] -= 1
    return widths


def _truncate(text: str, width: int) -> str:
    """Returns as much of the text as fits, with "…" at the end if it was shortened."""
    if _width(text) <= width:
        return text
    shown = text[:width]
    while _width(shown) >= width:
        shown = shown[:-1]
    return f"{shown}…"


def _width(text: str) -> int:
    """Returns the number of terminal cells of a text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1
        for character in text
    )

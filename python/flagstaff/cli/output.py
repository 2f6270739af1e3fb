"""How a verb prints: a table on a terminal, tabs in a pipe, one document with `--json`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, repeat
from typing import Any
from unicodedata import combining, east_asian_width

from django.core.management.base import BaseCommand, OutputWrapper

from flagstaff._words.cells import Column, Record, as_json, printable


class Output:
    """Prints data to the standard output and messages to the standard error."""

    def __init__(
        self, command: BaseCommand, options: Mapping[str, Any], *, is_process: bool
    ) -> None:
        self._stdout, self._stderr, self._style = command.stdout, command.stderr, command.style
        self.is_json: bool = options.get("json", False)
        #: True if everything is rolled back at the end.
        self.is_dry_run: bool = options.get("dry_run", False)
        self.is_terminal = not self.is_json and self._stdout.isatty()
        #: True if a person reads the output.
        self.is_interactive = self._stdout.isatty() or self._stderr.isatty()
        #: True if the command is a process of its own, and a person reads its messages.
        self.is_attended = is_process and self._stderr.isatty()

    @property
    def is_unicode(self) -> bool:
        """True if the standard output can encode all of Unicode."""
        return _is_unicode(self._stdout)

    def message(self, text: str) -> None:
        """Prints a message for a person to the standard error."""
        self._stderr.write(_encodable(printable(text), self._stderr), str)

    def messages(self, texts: Iterable[str]) -> None:
        """Prints several messages."""
        for text in texts:
            self.message(text)

    def error(self, message: str, status: int) -> None:
        """Prints an error as one line of JSON to the standard error."""
        text = error_as_json(message, status, ascii_only=not _is_unicode(self._stderr))
        self._stderr.write(text, str)

    def document(self, document: object, *, indent: int | None = 2) -> None:
        """Prints a JSON document."""
        self.line(as_json(document, ascii_only=not self.is_unicode, indent=indent))

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
        else:
            self._tabs([[column.for_pipe(record) for column in columns] for record in records])

    def record(self, columns: Sequence[Column], record: Record) -> None:
        """Prints one record, one field per line."""
        if self.is_json:
            self.document(record)
        elif self.is_terminal:
            width = max(len(column.name) for column in columns)
            for column in columns:
                text = self._styled(column, record, column.for_terminal(record))
                self.line(f"{column.name:{width}}  {text}".rstrip())
        else:
            self._tabs([[column.name, column.for_pipe(record)] for column in columns])

    def headline(self, name: str, sentence: str) -> None:
        """Prints the sentence above the data; in a pipe it is a field called `name`."""
        if self.is_terminal:
            self.line(f"{printable(sentence)}\n")
        elif not self.is_json:
            self._tabs([[name, printable(sentence)]])

    def line(self, text: str) -> None:
        """Prints a line of data, unchanged."""
        self._stdout.write(_encodable(f"{text}\n", self._stdout))
        # A closed pipe raises here, and not at the end of the interpreter.
        self._stdout.flush()

    def _table(self, columns: Sequence[Column], records: Sequence[Record]) -> None:
        cells = [
            [column.title for column in columns],
            *([column.for_terminal(record) for column in columns] for record in records),
        ]
        below: list[int] = []
        if _excess([max(map(_width, texts)) for texts in zip(*cells, strict=True)]) > 0:
            below = [place for place, column in enumerate(columns) if column.below]
        beside = [place for place in range(len(columns)) if place not in below]
        columns = [columns[place] for place in beside]
        titles, *rows = [[texts[place] for place in beside] for texts in cells]
        widths = _column_widths(columns, [titles, *rows])
        self.line(self._in_style("MIGRATE_LABEL", _format_row(columns, widths, titles, titles)))
        for record, row, texts in zip(records, rows, cells[1:], strict=True):
            shown = [_truncate(cell, width) for cell, width in zip(row, widths, strict=True)]
            styled = map(self._styled, columns, repeat(record), shown)
            self.line(_format_row(columns, widths, shown, styled))
            for line in _lines_below([texts[place] for place in below]):
                self.line(line)

    def _styled(self, column: Column, record: Record, text: str) -> str:
        style = column.style(record)
        return self._in_style(style, text) if style else text

    def _in_style(self, style: str, text: str) -> str:
        return str(getattr(self._style, style)(text))

    def _tabs(self, rows: Sequence[Sequence[str]]) -> None:
        for row in rows:
            self.line("\t".join(row))


def error_as_json(message: str, status: int, *, ascii_only: bool = True) -> str:
    """Returns the document of an error: its exit status and its message."""
    return as_json({"error": {"status": status, "message": message}}, ascii_only=ascii_only)


def _is_unicode(stream: OutputWrapper) -> bool:
    return str(getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _encodable(text: str, stream: OutputWrapper) -> str:
    """Returns the text with escapes for what the stream cannot encode."""
    if _is_unicode(stream):
        return text
    return text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)


# The widths of a table's columns, and its rows.

_GAP = "  "
# Columns are not made narrower than this.
_MIN_WIDTH = 12
# The indent of the lines below a row.
_INDENT = " " * 4


def _column_widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Returns the widths; columns that may be truncated shrink until the row fits the terminal."""
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    for _ in range(_excess(widths)):
        flexible = [
            i for i, column in enumerate(columns) if column.truncate and widths[i] > _MIN_WIDTH
        ]
        if not flexible:
            break
        widths[max(flexible, key=lambda i: widths[i])] -= 1
    return widths


def _excess(widths: Sequence[int]) -> int:
    """Returns by how much a row of these widths is wider than the terminal."""
    return sum(widths) + len(_GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns


def _lines_below(cells: Sequence[str]) -> list[str]:
    """Returns the cells to print below a row, in lines that fit the terminal."""
    text = " · ".join(cell for cell in cells if cell)
    width = max(shutil.get_terminal_size().columns, _MIN_WIDTH + len(_INDENT))
    return textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _truncate(text: str, width: int) -> str:
    """Returns as much of the text as fits, with "…" at the end if it was shortened."""
    fitting = 0
    # A long text costs no more than what is shown of it.
    for end, used in enumerate(accumulate(map(_width, text)), 1):
        if used > width:
            return f"{text[:fitting]}…"
        fitting = end if used < width else fitting
    return text


def _format_row(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], styled: Iterable[str]
) -> str:
    """Returns a row of a table. `styled` are the cells with colours, which take no space."""
    padded = []
    for column, width, cell, text in zip(columns, widths, cells, styled, strict=True):
        space = " " * (width - _width(cell))
        padded.append(f"{space}{text}" if column.align_right else f"{text}{space}")
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """Returns the number of terminal cells of a text."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)

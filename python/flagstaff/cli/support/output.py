"""How a verb prints: a table on a terminal, tabs in a pipe, one document with `--json`."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

from flagstaff.cli.support.cells import Column, Record, as_json, printable
from flagstaff.cli.support.layout import (
    column_widths,
    format_row,
    is_too_wide,
    lines_below,
    truncate,
)

__all__ = ["Output", "error_as_json"]


class Output:
    """Prints data to the standard output and messages to the standard error."""

    def __init__(  # noqa: PLR0913 (the streams, and how the command was started)
        self,
        stdout: OutputWrapper,
        stderr: OutputWrapper,
        style: Style,
        *,
        is_json: bool,
        is_dry_run: bool = False,
        is_process: bool = False,
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._style = style
        self.is_json = is_json
        #: True if everything is rolled back at the end.
        self.is_dry_run = is_dry_run
        self.is_terminal = not is_json and stdout.isatty()
        #: True if a person reads the output.
        self.is_interactive = stdout.isatty() or stderr.isatty()
        #: True if the command is a process of its own, and a person reads its messages.
        self.is_attended = is_process and stderr.isatty()

    @property
    def is_unicode(self) -> bool:
        """True if the standard output can encode all of Unicode."""
        return _is_unicode(self._stdout)

    def message(self, text: str) -> None:
        """Prints a message for a person to the standard error."""
        self._stderr.write(_encodable(printable(text), self._stderr), str)

    def error(self, message: str, status: int) -> None:
        """Prints an error as one line of JSON to the standard error."""
        text = error_as_json(message, status, ascii_only=not _is_unicode(self._stderr))
        self._stderr.write(text, str)

    def document(self, document: object, *, indent: int | None = 2) -> None:
        """Prints a JSON document."""
        self.line(as_json(document, ascii_only=not self.is_unicode, indent=indent))

    def records(self, columns: Sequence[Column], records: Sequence[Record]) -> None:
        """Prints many records, one per line. Columns that the records do not have are left out."""
        columns = [column for column in columns if records and column.name in records[0]]
        if self.is_json:
            self.document(records)
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
        below = [column for column in columns if column.below]
        if below and is_too_wide(_cells(columns, records)):
            columns = [column for column in columns if not column.below]
        else:
            below = []
        titles, *rows = _cells(columns, records)
        widths = column_widths(columns, [titles, *rows])
        header = format_row(columns, widths, titles, titles)
        self.line(self._in_style("MIGRATE_LABEL", header))
        for record, row in zip(records, rows, strict=True):
            cells = [truncate(cell, width) for cell, width in zip(row, widths, strict=True)]
            styled = [
                self._styled(column, record, cell)
                for column, cell in zip(columns, cells, strict=True)
            ]
            self.line(format_row(columns, widths, cells, styled))
            for line in lines_below([column.for_terminal(record) for column in below]):
                self.line(line)

    def _styled(self, column: Column, record: Record, text: str) -> str:
        style = column.style(record)
        return self._in_style(style, text) if style else text

    def _in_style(self, style: str, text: str) -> str:
        return str(getattr(self._style, style)(text))

    def _tabs(self, rows: Sequence[Sequence[str]]) -> None:
        for row in rows:
            self.line("\t".join(row))


def _cells(columns: Sequence[Column], records: Sequence[Record]) -> list[list[str]]:
    """Returns the header and the rows of a table."""
    rows = [[column.for_terminal(record) for column in columns] for record in records]
    return [[column.title for column in columns], *rows]


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

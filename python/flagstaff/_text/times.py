"""Times as texts, and the fields of records as the texts of cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from datetime import timezone as fixed_timezone
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.html import escape

from flagstaff._text import Sentence, joined, say
from flagstaff.exceptions import InvalidArgumentError

SECONDS = say("{count} s")
_UNITS = (
    (86_400, say("{count} d")),
    (3_600, say("{count} h")),
    (60, say("{count} min")),
    (1, SECONDS),
)
# Whole phrases: in German, "2 Tage" becomes "vor 2 Tagen".
_AGO = (
    (365 * 86_400, say("{count} year ago", "{count} years ago")),
    (30 * 86_400, say("{count} month ago", "{count} months ago")),
    (7 * 86_400, say("{count} week ago", "{count} weeks ago")),
    (86_400, say("{count} day ago", "{count} days ago")),
    (3_600, say("{count} h ago", "{count} h ago")),
    (60, say("{count} min ago", "{count} min ago")),
)


def full_time(at: datetime) -> str:
    """Returns the date and time, such as "2026-11-20 14:03:05 CET"."""
    return f"{local_time(at):%Y-%m-%d %H:%M:%S %Z}"


def local_time_text(at: datetime) -> str:
    """Returns a time as all pages show it, in the current time zone."""
    return time_text(local_time(at))


def time_text(at: datetime) -> str:
    """Returns the date in the project's format, and the time with seconds and its own time zone.

    Django's own formats of times have no seconds, which an incident needs.
    """
    date, zone = date_format(at, "DATE_FORMAT"), date_format(at, "T")
    return f"{date}, {at:%H:%M:%S} {zone}".rstrip()


@dataclass(frozen=True)
class TimeValue:
    """A time as a value of a sentence: `full_time` in its English, `local_time_text` on pages."""

    at: datetime

    def __str__(self) -> str:
        return full_time(self.at)

    def __html__(self) -> str:
        return escape(self.local)

    @property
    def local(self) -> str:
        """The time in the language that is active now."""
        return local_time_text(self.at)


def local_days(days: int) -> str:
    """Returns the number of days in the language, such as "1 day"."""
    return say("{count} day", "{count} days", count=days).local


def ago(time: datetime, now: datetime | None = None) -> str:
    """Returns the time since then in its largest unit: "4 min ago", "vor 4 min"."""
    seconds = (aware(now or timezone.now()) - aware(time)).total_seconds()
    for size, text in _AGO:
        if seconds >= size:
            count = int(seconds // size)
            return say(text, count=count).local
    return say("just now").local


def duration(seconds: float, *, largest_only: bool = False) -> Sentence:
    """Returns a duration in its two largest units, or in its largest one. The rest is left out.

    >>> duration(59), duration(3_660), duration(129_600)
    ('59 s', '1 h 1 min', '1 d 12 h')
    >>> duration(750, largest_only=True)
    '12 min'
    """
    if 0 < seconds < 1:
        return say("less than 1 s")
    remaining, parts = round(seconds), []
    for size, unit in _UNITS:
        count, remaining = divmod(remaining, size)
        if count:
            parts.append(say(unit, count=count))
    if not parts:
        return say(SECONDS, count=0)
    return parts[0] if largest_only else joined(parts[:2], " ")


def local_time(at: datetime) -> datetime:
    """Returns the time in the current time zone, or in TIME_ZONE with USE_TZ = False."""
    return timezone.localtime(at) if timezone.is_aware(at) else aware(at)


def today() -> date:
    """Returns the day in the current time zone, or in TIME_ZONE with USE_TZ = False."""
    return local_time(timezone.now()).date()


def is_of_this_hour(at: datetime | None) -> bool:
    """Returns whether a time is not before the present full hour, for what is due once an hour."""
    hour = aware(timezone.now()).replace(minute=0, second=0, microsecond=0)
    return at is not None and aware(at) >= hour


def aware(at: datetime) -> datetime:
    """Returns the time with a UTC offset, for other programs."""
    # The database returns naive times in TIME_ZONE, whichever time zone is active.
    return at if timezone.is_aware(at) else at.replace(tzinfo=timezone.get_default_timezone())


_UTC = fixed_timezone.utc
_MAX_DELAY = timedelta(days=366)


def future_time(text: str) -> datetime:
    """Parses a time such as "2026-12-01 09:00", or "2026-12-01 09:00 Europe/Vienna".

    Without a time zone and a UTC offset, it is in the current time zone. Of a time that the clock
    shows twice it is the first. Raises InvalidArgumentError.
    """
    written_time, zone_name = text.strip(), ""
    *before, last = text.split() or [""]
    if before and last[0].isalpha():
        written_time, zone_name = " ".join(before), last
    try:
        # A newer Python also reads a date without a time.
        at = parse_datetime(written_time) if ":" in written_time else None
    except ValueError:
        at = None
    if at is None or (zone_name and timezone.is_aware(at)):
        raise InvalidArgumentError(
            'expected a time such as "2026-12-01 09:00" or "2026-12-01 09:00 Europe/Vienna", not '
            "{text}",
            text=repr(text),
        )
    if timezone.is_naive(at):
        zone = _zone(zone_name) if zone_name else timezone.get_current_timezone()
        written, at = at, at.replace(tzinfo=zone, fold=0)
        try:
            # The way through UTC moves a time that the clock leaves out.
            shown = at.astimezone(_UTC).astimezone(zone).replace(tzinfo=None)
        except OverflowError:
            # An end of the calendar, which is not within a year.
            shown = written
        if shown != written:
            raise InvalidArgumentError(
                "the clocks of {zone} go forward and never show {text}; write {shown} or another "
                "time",
                zone=str(zone),
                text=text,
                shown=f"{shown:%H:%M}",
            )
    now = datetime.now(_UTC)
    if not now < at <= now + _MAX_DELAY:
        raise InvalidArgumentError(
            "expected a time from now on, within a year, not {text}", text=repr(text)
        )
    return at


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    # Also for a name that is no path, or is a folder of the names of time zones.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidArgumentError(
            'there is no time zone {name}; write one such as "Europe/Vienna"', name=repr(name)
        ) from error


def is_shown_twice(at: datetime) -> bool:
    """Whether the clock shows this time also an hour later, because clocks go back."""
    return at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()


#: What a verb prints of one thing, by field. The values are of any type that JSON can hold.
Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A field of the records, and its text on a terminal. In a pipe the field is unchanged."""

    name: str
    text: Callable[[Record], str] | None = None
    header: str | None = None
    #: The text may be truncated if the terminal is too narrow.
    truncate: bool = False
    #: If the terminal is too narrow for the whole table, the text is printed below its row.
    below: bool = False
    align_right: bool = False
    #: A pipe has the text, too: the field is a list of sentences or words.
    is_text: bool = False
    #: The name of the cell's style in Django's terminal colours, or None.
    style: Callable[[Record], str | None] = lambda _record: None

    @property
    def title(self) -> str:
        """The header of the column."""
        return self.name.upper().replace("_", " ") if self.header is None else self.header

    def for_terminal(self, record: Record) -> str:
        """Returns the cell of a table."""
        return printable(self.text(record) if self.text else _terminal_text(record[self.name]))

    def for_pipe(self, record: Record) -> str:
        """Returns the cell between tabs."""
        if self.is_text:
            return self.for_terminal(record)
        return printable(_pipe_text(record[self.name]))


class FieldEncoder(DjangoJSONEncoder):
    """Encodes the value of any model field, also of a project's own."""

    def default(self, o: object) -> object:
        if isinstance(o, Decimal) and o.is_finite():
            return int(o) if o == int(o) else float(o)
        if isinstance(o, datetime):
            o = aware(o)
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def as_json(value: object, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """Returns JSON of the value of any model field, without control characters."""
    text = json.dumps(value, cls=FieldEncoder, ensure_ascii=ascii_only, indent=indent)
    if ascii_only or text.replace("\n", "").isprintable():
        return text
    return as_json(value, ascii_only=True, indent=indent)


def with_fields(row: Model, first: dict[str, object]) -> dict[str, object]:
    """Returns a record of `first` and then all other fields of the row."""
    fields = [field for field in row._meta.concrete_fields if field.name not in first]
    return {**first, **{field.name: field.value_from_object(row) for field in fields}}


def printable(text: str) -> str:
    """Returns one line without tabs and control characters."""
    if text.isprintable():
        return text
    one_line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\ufffd" for char in one_line)


def _terminal_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return full_time(value)
    return _pipe_text(value)


def _pipe_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return aware(value).isoformat()
    return as_json(value) if isinstance(value, bool | list | tuple | dict) else str(value)

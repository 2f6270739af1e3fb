"""Arguments that several verbs have, and what their texts become. Types raise ArgumentTypeError."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from datetime import timezone as fixed_timezone
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from flagstaff._tables.rows import OWNER, TAGS, Kind, with_tags
from flagstaff._text import is_whole_number
from flagstaff._text.times import future_time
from flagstaff.cli.verb import AddArguments, Options, one_of, option, switch, together
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidArgumentError

_MAX_WAIT = 3_600.0
#: The seconds of --wait without a number.
DEFAULT_WAIT = -1.0
_UTC = fixed_timezone.utc
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,6}) ?([smhdw])")
_TIME_OF_DAY = re.compile("[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_EXAMPLES = 'such as "30m", "1h", "2d", "10:00" or "2026-11-22T10:00"'


# Types of arguments.


def count(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Returns a parser of whole numbers from `least` to `most`."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if is_whole_number(text) else -1
        if number < least or (most is not None and number > most):
            raise ArgumentTypeError(f"expected a whole number {limits}, not {text!r}")
        return number

    return parse


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Returns a parser of seconds such as "5" or "0.5"."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if least <= (number := float(text)) <= most:
                return number
        raise ArgumentTypeError(
            f"expected a number of seconds from {least:g} to {most:g}, not {text!r}"
        )

    return parse


def point_in_time(text: str) -> datetime:
    """Parses "1h" ago, "10:00", the last one that has passed, or a date, or a date and a time.

    A time without a UTC offset is in the current time zone.
    """
    now = _now()
    with suppress(ValueError, OverflowError):
        if ago := _AGO.fullmatch(text.strip()):
            # In UTC: the local time of a clock change has a missing hour, or the same hour twice.
            return now.astimezone(_UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if _TIME_OF_DAY.fullmatch(text):
            days = (now.date(), now.date() - timedelta(days=1))
            return next(at for day in days if (at := _parsed(f"{day}T{text}")) <= now)
        return _parsed(text)
    raise ArgumentTypeError(f"expected a time {_EXAMPLES}, not {text!r}")


def _parsed(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError(text)
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def _now() -> datetime:
    # Aware also with USE_TZ = False.
    return datetime.now(timezone.get_current_timezone())


def _future(text: str) -> datetime:
    try:
        return future_time(text)
    except InvalidArgumentError as error:
        raise ArgumentTypeError(str(error)) from error


# Arguments that select rows and events.


def add_key(parser: Any, noun: str = "flag", *, optional: bool = False) -> None:
    """Adds KEY. `noun` is what the key belongs to."""
    nargs = "?" if optional else None
    parser.add_argument("key", metavar="KEY", nargs=nargs, help=f"the key of the {noun}")


def add_kinds(help: str) -> AddArguments:  # noqa: A002 (as in argparse)
    """Declares --value and --segment. `help` has %s in the place of the kind."""
    return one_of(*(switch(f"--{kind}", help % kind) for kind in ("value", "segment")))


def chosen_kinds(options: Options) -> list[Kind]:
    """Returns the kind of --value or --segment; all without these options."""
    return [kind for kind in Kind if options.get(kind.value)] or [*Kind]


def add_period(nouns: str, since: str = "--since") -> AddArguments:
    """Declares --since, or TIME, and --until and --by. `nouns` is what they select."""
    begin, end = f"only {nouns} from TIME, {_EXAMPLES}", f"only {nouns} before TIME"
    by = 'only changes of this actor: a username, primary key, or name such as "deploy"'
    return together(
        option(since, begin, "TIME", type=point_in_time),
        option("--until", end, "TIME", type=point_in_time),
        option("--by", by, "USER"),
    )


add_ownership = together(
    option("--owner", 'only flags of this owner; "" for none', "NAME"),
    option(
        "--tag",
        "only flags with this tag; if repeated, only flags with all these tags",
        "TAG",
        dest=TAGS,
        action="append",
    ),
)


def ownership_filter(options: Options) -> Q:
    """Returns the condition of the flags that --owner and --tag select."""
    owner, tags = options[OWNER], options[TAGS]
    condition = Q() if owner is None else Q(owner=owner)
    return condition if tags is None else condition & with_tags(conf.flag_model, tags)


# Arguments of changes.

add_yes = switch("--yes", "do not ask for confirmation")
#: `flagstaff.cli.main` rolls back everything that the verb writes.
add_dry_run = switch("--dry-run", "show what would change, and write nothing")
add_expected_version = option(
    "--expect-version",
    "refuse the change if the version is not N; `history` shows versions",
    "N",
    type=int,
)
#: What the history has of a change, and what REQUIRE_REASON and REQUIRE_ACTOR ask for.
add_attribution = together(
    option("--reason", "the reason, for the history", "TEXT", default=""),
    one_of(
        option(
            "--as",
            "the actor, for the history: the primary key or username of a user",
            "USER",
            dest="actor",
        ),
        option(
            "--as-name", 'an actor that is not a user, such as "deploy"', "NAME", dest="actor_name"
        ),
    ),
    add_dry_run,
)
_add_seconds = option(
    "--wait",
    "wait until all workers have applied the change, by default up to 5 s, or for POLL_INTERVAL "
    "and a second more if that is longer",
    "SECONDS",
    nargs="?",
    type=seconds(0, _MAX_WAIT),
    const=DEFAULT_WAIT,
)
_add_expect = option(
    "--expect",
    "wait until N workers are registered and have applied the change",
    "N",
    type=count(),
)
add_wait = together(_add_seconds, _add_expect)
#: For a verb that waits unless told otherwise.
add_no_wait = together(
    one_of(switch("--no-wait", "do not wait for the workers"), _add_seconds), _add_expect
)
add_later = together(
    option(
        "--at",
        'do it at this time, such as "2026-12-01 09:00" or "2026-12-01 09:00 Europe/Vienna", with '
        "the rights that the user of --as has then",
        "TIME",
        type=_future,
    ),
    switch("--request", "do it when another user has approved it"),
)
add_until = option(
    "--until", "with --at: end it at this later time, with the same approval", "TIME", type=_future
)

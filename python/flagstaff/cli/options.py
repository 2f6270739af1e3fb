"""Arguments that several verbs have, and what their texts become. Types raise ArgumentTypeError."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime, time, timedelta
from datetime import timezone as fixed_timezone
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from flagstaff._tables.model_fields import OWNER, TAGS
from flagstaff._tables.tags import with_tags
from flagstaff.cli.verb import Options, one_of, option, switch, together
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidArgumentError
from flagstaff.history.kinds import Kind
from flagstaff.waiting.times import future_time

_MAX_WAIT = 3_600.0
#: The seconds of --wait without a number.
DEFAULT_WAIT = -1.0
_UTC = fixed_timezone.utc
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,6}) ?([smhdw])")
_TIME_OF_DAY = re.compile("[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_EXAMPLES = 'such as "30m", "1h", "2d", "10:00" or "2026-11-22T10:00"'
_KINDS = {"value": Kind.VALUE, "segment": Kind.SEGMENT}


# Types of arguments.


def count(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Returns a parser of whole numbers from `least` to `most`."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if number < least or (most is not None and number > most):
            raise ArgumentTypeError(f"expected a whole number {limits}, not {text!r}")
        return number

    return parse


def seconds(longest: float, *, allow_zero: bool = True, hint: str = "") -> Callable[[str], float]:
    """Returns a parser of seconds such as "5" or "0.5". `hint` follows the message for text."""
    limits = f"{'from' if allow_zero else 'above'} 0 to {longest:g}"

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError as error:
            raise ArgumentTypeError(f"expected a number of seconds, not {text!r}{hint}") from error
        if not 0 <= number <= longest or not (number or allow_zero):
            raise ArgumentTypeError(f"expected a number of seconds {limits}, not {text!r}")
        return number

    return parse


def point_in_time(text: str) -> datetime:
    """Parses "1h" ago, "10:00", the last one that has passed, or a date, or a date and a time.

    A time without a UTC offset is in the current time zone.
    """
    now = _now()
    try:
        if ago := _AGO.fullmatch(text.strip()):
            # In UTC: the local time of a clock change has a missing hour, or the same hour twice.
            return now.astimezone(_UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if _TIME_OF_DAY.fullmatch(text):
            clock = time.fromisoformat(text)
            dates = (now.date(), now.date() - timedelta(days=1))
            times = (_aware(datetime.combine(one, clock)) for one in dates)
            return next(moment for moment in times if moment <= now)
        moment = parse_datetime(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise ArgumentTypeError(f"expected a time {_EXAMPLES}, not {text!r}")
    return _aware(moment)


def _aware(moment: datetime) -> datetime:
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def _now() -> datetime:
    # Aware also with USE_TZ = False.
    return datetime.now(timezone.get_current_timezone())


# Arguments that select rows and events.


def add_key(parser: Any, thing: str = "flag", *, optional: bool = False) -> None:
    """Adds KEY. `thing` is what the key belongs to."""
    nargs = "?" if optional else None
    parser.add_argument("key", metavar="KEY", nargs=nargs, help=f"the key of the {thing}")


def add_kinds(help: str) -> Callable[[Any], object]:  # noqa: A002 (as in argparse)
    """Declares --value and --segment. `help` has %s in the place of the kind."""
    return one_of(*(switch(f"--{name}", help % name) for name in _KINDS))


def chosen_kinds(options: Options) -> list[Kind]:
    """Returns the kind of --value or --segment; all without these options."""
    return [kind for name, kind in _KINDS.items() if options[name]] or [*Kind]


def add_period(things: str, since: str = "--since") -> Callable[[Any], object]:
    """Declares --since, or TIME, and --until and --by. `things` is what they select."""
    return together(
        *(
            option(name, f"{text} TIME, {_EXAMPLES}", "TIME", type=point_in_time)
            for name, text in (
                (since, f"only {things} from"),
                ("--until", f"only {things} before"),
            )
        ),
        option(
            "--by",
            'only changes of this actor: a username, primary key, or name such as "deploy"',
            "USER",
        ),
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


def add_attribution(parser: Any, *, dry_run: bool = True) -> None:
    """Adds --reason, --as, --as-name and --dry-run.

    With REQUIRE_REASON, the verb needs a reason, unless the parser has another default.
    """
    parser.set_defaults(needs_reason=True)
    parser.add_argument("--reason", default="", metavar="TEXT", help="the reason, for the history")
    actors = parser.add_mutually_exclusive_group()
    actors.add_argument(
        "--as",
        dest="actor",
        metavar="USER",
        help="the actor, for the history: the primary key or username of a user",
    )
    actors.add_argument(
        "--as-name",
        dest="actor_name",
        metavar="NAME",
        help='an actor that is not a user, such as "deploy"',
    )
    if dry_run:
        add_dry_run(parser)


def add_wait(parser: Any, *, by_default: bool = False) -> None:
    """Adds --wait and --expect, and --no-wait if the verb waits by default."""
    waits = parser.add_mutually_exclusive_group() if by_default else parser
    if by_default:
        waits.add_argument("--no-wait", action="store_true", help="do not wait for the workers")
    waits.add_argument(
        "--wait",
        nargs="?",
        type=seconds(_MAX_WAIT, hint="; write KEY before --wait, or write --wait=5"),
        const=DEFAULT_WAIT,
        metavar="SECONDS",
        help="wait until all workers have applied the change, by default up to 5 s, or for "
        "POLL_INTERVAL and a second more if that is longer",
    )
    parser.add_argument(
        "--expect",
        type=count(),
        metavar="N",
        help="wait until N workers are registered and have applied the change",
    )


def _future(text: str) -> datetime:
    try:
        return future_time(text)
    except InvalidArgumentError as error:
        raise ArgumentTypeError(str(error)) from error


def add_later(parser: Any) -> None:
    """Adds --at and --request."""
    parser.add_argument(
        "--at",
        type=_future,
        metavar="TIME",
        help='do it at this time, such as "2026-12-01 09:00", with the rights that the user of '
        "--as has then",
    )
    parser.add_argument(
        "--request",
        action="store_true",
        help="do it when another user has approved it",
    )

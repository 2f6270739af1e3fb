"""Changes of the state of flags: on, off, kill, rollout."""

from __future__ import annotations

from functools import partial

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff.cli.support.argument_types import percent
from flagstaff.cli.support.change_arguments import add_changes_arguments, add_yes
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.several_flags import change_flags, release_flags
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb


def _add_on(parser: CommandParser) -> None:
    add_changes_arguments(parser)
    add_yes(parser)


def _on(options: Options, out: Output) -> None:
    release_flags(changes.enable, options, out)


def _add_kill(parser: CommandParser) -> None:
    _add_off(parser, waits=True)


def _add_off(parser: CommandParser, *, waits: bool = False) -> None:
    add_changes_arguments(parser, waits=waits)
    # Nothing may delay a kill.
    parser.set_defaults(needs_reason=False)


def _off(options: Options, out: Output) -> None:
    change_flags(changes.disable, options, out)


def _add_rollout(parser: CommandParser) -> None:
    _add_on(parser)
    parser.add_argument(
        "percent", metavar="PERCENT", type=percent, help="a whole number from 0 to 100"
    )


def _rollout(options: Options, out: Output) -> None:
    write = partial(changes.set_rollout, percent=options["percent"])
    # A brake needs no question: nothing delays it.
    (release_flags if options["percent"] else change_flags)(write, options, out)


def _release(options: Options, out: Output) -> None:
    release_flags(changes.release_to_everybody, options, out)


ON = Verb(
    name="on",
    help="enable flags (their rollout and allowed users apply)",
    examples=("on new_checkout", "on new_checkout dark_mode --dry-run"),
    add_arguments=_add_on,
    run=_on,
)
OFF = Verb(
    name="off",
    help="disable flags for all users",
    examples=(
        "off new_checkout",
        "off new_checkout dark_mode",
        "off new_checkout --wait",
        "off new_checkout --wait 30 --expect 12",
    ),
    add_arguments=_add_off,
    run=_off,
)
KILL = Verb(
    name="kill",
    help="disable flags for all users, and wait until the workers have applied it",
    examples=(
        'kill new_checkout --reason "orders fail"',
        "kill new_checkout dark_mode",
        "kill new_checkout --no-wait",
    ),
    add_arguments=_add_kill,
    run=_off,
    topic=Topic.INCIDENT,
)
ROLLOUT = Verb(
    name="rollout",
    help="set the percentage of users who have a flag",
    examples=("rollout new_checkout 5", "rollout new_checkout dark_mode 25% --dry-run"),
    add_arguments=_add_rollout,
    run=_rollout,
)
RELEASE = Verb(
    name="release",
    help="give flags to everybody: enabled, at 100 %, also in each rule",
    examples=("release new_checkout", "release new_checkout dark_mode --dry-run"),
    add_arguments=_add_on,
    run=_release,
)

"""Why an undo is refused, and what to do then."""

from __future__ import annotations

from flagstaff._words.text import Text
from flagstaff.changes.changed import KIND_OPTIONS, quoted_command
from flagstaff.history.kinds import Kind


def no_version(version: int) -> Text:
    """Returns the message if no entry has this id."""
    return Text(
        "the history has no version {version}; see {command}",
        version=str(version),
        command=quoted_command("history"),
    )


def no_version_of_key(kind: Kind, key: str, version: int) -> Text:
    """Returns the message if no entry of this flag, value or segment has this id."""
    command = quoted_command("history", key, *KIND_OPTIONS[kind])
    return Text(
        "the history of {key} has no version {version}; see {command}",
        key=key,
        version=str(version),
        command=command,
    )


def restore_command(kind: Kind, key: str, version: str) -> str:
    """Returns the command that restores a version, in quotes."""
    return quoted_command("restore", key, version, *KIND_OPTIONS[kind])

"""Why an undo is refused, and what to do then."""

from __future__ import annotations

from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _
from flagstaff.changes.changed import KIND_OPTIONS, quoted_command
from flagstaff.history.kinds import Kind

CHANGED_AGAIN = Template(
    "undo_changed_again", _("%(actor)s changed %(key)s again at %(time)s: %(change)s")
)
CHANGED_SINCE = Template("undo_changed_since", _("%(key)s was changed again since then"))
INTERLEAVED = Template(
    "undo_interleaved",
    _(
        "another transaction changed %(key)s at the same time, and the undo would also undo that "
        "transaction"
    ),
)
CHANGED_MEANWHILE = Template(
    "undo_changed_meanwhile",
    _("%(key)s was changed since the undo was shown: %(changes)s"),
    separator="; ",
)
OTHERS_CHANGED_MEANWHILE = Template(
    "undo_others_changed_meanwhile",
    _("the undo would do something else than was shown, because other keys were changed since"),
)
RUN_AGAIN = Template("undo_run_again", _("run the command again"))

RESTORE = Template(
    "undo_restore",
    _("to restore the state before the change of %(actor)s, run: %(command)s"),
)
DELETE = Template("undo_delete", _("to delete it nevertheless, run: %(command)s"))
BY_HAND = Template("undo_by_hand", _("change it by hand"))

KEY_TAKEN = {
    Kind.FLAG: Template(
        "undo_flag_key_taken",
        _("%(key)s was deleted, and another flag has the same key now"),
    ),
    Kind.VALUE: Template(
        "undo_value_key_taken",
        _("%(key)s was deleted, and another value has the same key now"),
    ),
    Kind.SEGMENT: Template(
        "undo_segment_key_taken",
        _("%(key)s was deleted, and another segment has the same key now"),
    ),
}
FREE_KEY = {
    Kind.FLAG: Template("undo_free_flag", _("rename or delete the other flag first")),
    Kind.VALUE: Template("undo_free_value", _("rename or delete the other value first")),
    Kind.SEGMENT: Template("undo_free_segment", _("delete the other segment first")),
}

NOTHING = Template("undo_nothing", _("the history of %(key)s has no change to undo"))
DELETED = Template("undo_deleted", _("%(key)s has been deleted; restore it first with %(command)s"))
_NO_VERSION = Template(
    "undo_no_version", _("the history has no version %(version)s; see %(command)s")
)
_NO_VERSION_OF_KEY = Template(
    "undo_no_version_of_key",
    _("the history of %(key)s has no version %(version)s; see %(command)s"),
)


def no_version(version: int) -> Message:
    """Returns the message if no entry has this id."""
    return _NO_VERSION(version=str(version), command=quoted_command("history"))


def no_version_of_key(kind: Kind, key: str, version: int) -> Message:
    """Returns the message if no entry of this flag, value or segment has this id."""
    command = quoted_command("history", key, *KIND_OPTIONS[kind])
    return _NO_VERSION_OF_KEY(key=key, version=str(version), command=command)


def restore_command(kind: Kind, key: str, version: str) -> str:
    """Returns the command that restores a version, in quotes."""
    return quoted_command("restore", key, version, *KIND_OPTIONS[kind])

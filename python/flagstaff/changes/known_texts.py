"""The reasons of refused changes, in the language of a page. The exceptions are English."""

from __future__ import annotations

import re
from typing import Final

from flagstaff._words.known_texts import KnownTexts
from flagstaff._words.known_texts import message as _
from flagstaff._words.rule_problems import PLACES, rule_problem_text

_EVENT: Final = KnownTexts(
    [_("%(actor)s at %(time)s: %(change)s")],
    untranslated=("actor", "time", "change"),
)
# A change may contain the separator, too.
_SEPARATOR: Final = re.compile(r"; (?=[^;]+ at [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8})")


def _events(text: str) -> str:
    return "; ".join(map(_EVENT.translate, _SEPARATOR.split(text)))


#: The reasons that `flagstaff.changes` and `flagstaff.history` give.
REFUSALS: Final = KnownTexts(
    [
        _(
            "%(key)s has %(present)s, but version %(expected)s was expected; changes after version "
            "%(seen)s: %(events)s; to change it anyway, expect version %(version)s"
        ),
        _(
            "%(key)s has %(present)s, but version %(expected)s was expected; changes after version "
            "%(seen)s: %(events)s; to go back to an earlier version, restore it in the admin's "
            "history, or run: %(command)s"
        ),
        _(
            "%(key)s has %(present)s, but version %(expected)s was expected; changes after version "
            "%(seen)s: %(events)s"
        ),
        _("%(key)s has %(present)s, but version %(expected)s was expected; %(advice)s"),
        _("%(key)s has %(present)s, but version %(expected)s was expected"),
        _("%(key)s has changed since you read it: %(fields)s; read it again"),
        _(
            "another transaction changed %(key)s at the same time, and undo would also undo that "
            "transaction; %(advice)s"
        ),
        _("a flag %(key)s already exists; change it, or use another key"),
        _("a value %(key)s already exists; change it, or use another key"),
        _("a segment %(key)s already exists; change it, or use another key"),
        _(
            "%(key)s was deleted, and another flag has the same key now; "
            "rename or delete the other flag first"
        ),
        _(
            "%(key)s was deleted, and another value has the same key now; "
            "rename or delete the other value first"
        ),
        _(
            "%(key)s was deleted, and another segment has the same key now; "
            "rename or delete the other segment first"
        ),
        _("the history of %(key)s has no change to undo"),
        _("the history of %(key)s has no version %(version)s; see %(command)s"),
        _("the history has no version %(version)s; see %(command)s"),
        _("%(key)s has been deleted; restore it first with %(command)s"),
        _("%(key)s did not exist at version %(version)s; to remove it, use %(command)s"),
        _(
            "the history stores only a digest of %(key)s, because it is secret; "
            "enter the value again with %(command)s"
        ),
        _(
            "Python cannot decode the value that %(key)s had, so it cannot be restored; "
            "write it with SQL"
        ),
        _(
            "the segment %(key)s is used by the rules of %(flags)s and %(count)s more; "
            "change these rules first"
        ),
        _("the segment %(key)s is used by the rules of %(flags)s; change these rules first"),
        _("%(place)s names the segment %(key)s, which does not exist; %(advice)s"),
        _(
            "users of schema %(schema)s cannot be allowed users, because users of other tenants "
            "can have the same primary key; use a rollout"
        ),
        _("no user has the primary key %(keys)s; nothing was changed"),
        _("the rollout percent must be a whole number from 0 to 100, not %(value)s"),
        _(
            "connected workers cannot read format %(format)s of rules: %(versions)s; "
            "deploy this version to them first, or force the change: --force in a terminal, "
            "force=True in Python"
        ),
        _("the database rejected the change: %(reason)s"),
        _('%(name)s cannot be null; write JSON, such as "stripe", 25 or [], or delete the row'),
        _("%(name)s cannot be null"),
        _("JSON cannot hold this value: %(reason)s"),
        _("get_value() cannot return this value: it %(reason)s"),
        _("history is not available; use PostgreSQL and run manage.py migrate"),
        _("the change is not valid; nothing was written"),
        _(
            "no flag has this key; check the spelling, create it, or change UNKNOWN_KEY in "
            "FLAGSTAFF"
        ),
        _(
            "no value has this key; check the spelling, create it, or change UNKNOWN_KEY in "
            "FLAGSTAFF"
        ),
        _("no segment has this key; check the spelling, or create it"),
    ],
    untranslated=(
        *("key", "keys", "name", "value", "command", "table", "database", "schema", "flags"),
        *("fields", "versions", "reason"),
    ),
    parts={
        "present": [_("version %(number)s"), _("no version")],
        "events": _events,
        "place": PLACES,
        "advice": [
            _("did you mean %(keys)s?"),
            _('undo its deletion first with "%(command)s"'),
            _('create it first with "%(command)s"'),
            _("to change it anyway, expect version %(version)s"),
            _(
                "to go back to an earlier version, restore it in the admin's history, or run: "
                "%(command)s"
            ),
        ],
    },
)


def refusal_text(text: str) -> str:
    """Returns the reason of a refused change, in the active language, line by line."""
    return "\n".join(map(_line, text.split("\n")))


def _line(text: str) -> str:
    if (found := REFUSALS.find(text)) is not None:
        return found
    # The problems of rules begin with the name of the field.
    name, separator, problem = text.partition(": ")
    if not separator:
        return text
    found = REFUSALS.find(problem)
    return f"{name}: {rule_problem_text(problem) if found is None else found}"

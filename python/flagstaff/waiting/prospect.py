"""What a stored action would do now, and who may do it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, cast

from django.apps import apps
from django.db.models import Model
from django.utils.module_loading import import_string
from django.utils.translation import override

from flagstaff._tables.database import db
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import say, some
from flagstaff._value_schema import SECRET, is_secret
from flagstaff.actions.rights import lacking, may, overrides
from flagstaff.actions.table import Done, Outlook, Run
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence, consequence_of, impact_text, text_to_type
from flagstaff.changes.impact import impact_of_changes
from flagstaff.changes.row_states import Impact
from flagstaff.conf import APPROVAL_RULES, conf
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind

logger = logging.getLogger("flagstaff")

# Nobody waits for the count of a job, and a page counts for a second.
_COUNT_TIMEOUT = 5.0


class NotAllowedError(InvalidChangeError):
    """the user may not do this; nothing was written"""


class UncountedError(FlagstaffError):
    """the users could not be counted"""


@dataclass(frozen=True)
class Prospect:
    """What an action would do, and its users, who have been counted."""

    run: Run
    outlook: Outlook
    #: Of rows with a history.
    changed: Sequence[Changed] = ()
    impact: Impact = field(default_factory=lambda: Impact([], []))

    @classmethod
    def of(cls, run: Run, expected: Mapping[str, Any] | None = None) -> Prospect:
        """Previews an action, and counts the users. Neither locks nor writes.

        `expected` is what a person has seen, as in the outlook. Raises ConflictError.
        """
        expected = expected or {}
        if run.action.outlook is None:
            # Before the preview: then newer changes are a conflict.
            versions = {**run.versions(), **expected}
            changed = run.preview()
            impact = impact_of_changes(changed, timeout=_COUNT_TIMEOUT)
            return cls.counted(run, versions, changed, impact)
        [key] = run.keys
        outlook = run.action.outlook(key, **run.arguments)
        if expected.items() - outlook.expected.items():
            text = say("{key} has been changed since the question; run the command again", key=key)
            raise ConflictError(text, key=key)
        return cls(run, outlook)

    @classmethod
    def counted(
        cls, run: Run, versions: Mapping[str, Any], changed: Sequence[Changed], impact: Impact
    ) -> Prospect:
        """Returns the prospect of a preview with its impact. The versions are from before it."""
        is_counted = all(effect.users is not None for effect in impact.values())
        outlook = Outlook(
            run.rows[0] if run.rows else cast("Kind", run.action.kind).model,
            versions,
            consequence_of(impact),
            partial(impact_text, impact),
            is_counted,
            text_to_type(impact),
        )
        return cls(run, outlook, changed, impact)

    @property
    def consequence(self) -> Consequence:
        """What it means for the users: the most if they cannot be counted."""
        return self.outlook.consequence if self.outlook.is_counted else Consequence.MOST

    @property
    def users(self) -> str:
        """The sentences about the users, in English, because they are stored."""
        with override(None):
            return self.outlook.users()

    def write(self, expected: Mapping[str, Any]) -> Sequence[Changed | Done]:
        """Writes all rows, or none. Raises ConflictError unless they are as expected."""
        run = self.run
        if run.action.outlook is None:
            return run.write(expected)
        return [run.action.write(*run.keys, **run.arguments, **expected)]

    def require_right(self, pk: str) -> Any:
        """Returns the user with this primary key. Raises NotAllowedError if the user may not do it.

        A ModelAdmin of a project that decides about rights needs a request, so its answer is no.
        """
        action, user, rows = self.run.action, _active_user(pk), self.run.rows
        rows = rows or [self.outlook.row]
        if deciding := [*_deciding_admins(self.outlook)]:
            raise NotAllowedError(
                "{admin} decides about rights by its own methods, which need a request: do it "
                "without a time and an approval, or move the rights to an authentication backend",
                admin=some(deciding),
            )
        allowed = partial(may, user)
        refused: Sequence[str] = [
            getattr(row, "key", "") for row in rows if not allowed(action.right, row)
        ]
        keys = some(filter(None, refused)) or f"{action.noun}s"
        if not refused and lacking(allowed, self.impact):
            # Without the keys, which are stored: a reader may not see all of them.
            refused, keys = self.run.keys, say("all that uses {keys}", keys=some(self.run.keys))
        if refused:
            raise NotAllowedError(
                "user {user} lacks the right to {right} {keys}",
                user=actor_table().name_of(user),
                right=action.right,
                keys=keys,
            )
        return user

    def require_approver(self, pk: str, asked_by: str) -> None:
        """Raises NotAllowedError unless a user may approve it: another one, with the right."""
        if pk == asked_by:
            raise NotAllowedError("it needs the approval of another user than the one who asked")
        self.require_right(pk)


def is_approval_needed(prospect: Prospect) -> bool:
    """Whether the setting APPROVAL asks for a second person.

    Nothing delays what always runs, such as a rollout to 0 %, and a secret value is not stored to
    wait. An error of the project's function counts as a yes.
    """
    run, rule = prospect.run, conf.approval
    if rule is None or run.action.runs_always(run.arguments) or is_of_secret(run):
        return False
    if rule in APPROVAL_RULES:
        return prospect.consequence >= Consequence[APPROVAL_RULES[rule]]
    try:
        # A savepoint, so that an error of the database does not spoil an open transaction.
        with db.atomic():
            rows = run.rows if run.action.outlook is None else [prospect.outlook.row]
            return bool(import_string(rule)(run.action, rows, prospect.consequence))
    except Exception:
        logger.exception("flagstaff: the function in APPROVAL failed, so an approval is needed")
        return True


def is_of_secret(run: Run) -> bool:
    """Whether the arguments may have a secret value."""
    return any(map(is_secret, run.rows)) or bool(run.arguments.get(SECRET))


def require_user(actor: str) -> str:
    """Returns the actor of the present writes. Raises NotAllowedError if it is not one user."""
    if actor_table().parse_canonical(actor) is None:
        raise NotAllowedError(
            "this needs a user, whose rights count: pass --as USER, and do not act as another user"
        )
    return actor


def _active_user(pk: str) -> Any:
    table = actor_table()
    parsed = table.parse_canonical(pk)
    user: Any = None if parsed is None else table.rows.filter(pk=parsed).first()
    if user is None:
        raise NotAllowedError(
            say("user {user} no longer exists", user=repr(pk))
            if pk
            else say("the user was removed from the history")
        )
    if not user.is_active:
        raise NotAllowedError("user {user} is not active", user=table.name_of(user))
    return user


def _deciding_admins(outlook: Outlook) -> Iterator[str]:
    """Yields the classes of a project that decide about rights."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.sites import all_sites  # noqa: PLC0415 (only if it is installed)

    row = outlook.row
    models: list[type[Model]] = [row if isinstance(row, type) else type(row), *outlook.models]
    methods = [f"has_{right}_permission" for right in ("view", "toggle", "change", "add", "delete")]
    for site, model in product(all_sites, models):
        model_admin: Any = site.get_model_admin(model) if site.is_registered(model) else None
        if model_admin is not None and overrides(model_admin, "get_queryset", *methods):
            yield type(model_admin).__name__

"""Who may do what waits, and whether it needs the approval of a second person."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string

from flagstaff._tables.database import db
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import say, some
from flagstaff._value_schema import SECRET, is_secret
from flagstaff.actions.look import Look
from flagstaff.actions.rights import lacking, may, overrides
from flagstaff.actions.table import Run
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.row_states import Impact
from flagstaff.conf import APPROVAL_RULES, conf
from flagstaff.exceptions import InvalidChangeError

logger = logging.getLogger("flagstaff")


class NotAllowedError(InvalidChangeError):
    """the user may not do this; nothing was written"""


def require_right(run: Run, look: Look, pk: str, reached: Impact | None = None) -> Any:
    """Returns the user with this primary key. Raises NotAllowedError if the user may not do it.

    `reached` is what the change reaches, if it is not that of the look. A ModelAdmin of a project
    that decides about rights needs a request, so its answer is no.
    """
    action, user = run.action, _active_user(pk)
    if deciding := [*_deciding_admins(look)]:
        raise NotAllowedError(
            "{admin} decides about rights by its own methods, which need a request: do it "
            "without a time and an approval, or move the rights to an authentication backend",
            admin=some(deciding),
        )
    allowed = partial(may, user)
    refused = [getattr(row, "key", "") for row in look.rows if not allowed(action.right, row)]
    keys = some(filter(None, refused)) or f"{action.noun}s"
    if not refused and lacking(allowed, look.impact if reached is None else reached):
        # Without the keys, which are stored: a reader may not see all of them.
        refused, keys = [*run.keys], say("all that uses {keys}", keys=some(run.keys))
    if refused:
        raise NotAllowedError(
            "user {user} lacks the right to {right} {keys}",
            user=actor_table().name_of(user),
            right=action.right,
            keys=keys,
        )
    return user


def require_approver(run: Run, look: Look, pk: str, asked_by: str) -> None:
    """Raises NotAllowedError unless a user may approve it: another one, with the right."""
    if pk == asked_by:
        raise NotAllowedError("it needs the approval of another user than the one who asked")
    require_right(run, look, pk)


def is_approval_needed(run: Run, look: Look) -> bool:
    """Whether the setting APPROVAL asks for a second person.

    Nothing delays what always runs, such as a rollout to 0 %, and a secret value is not stored to
    wait. An error of the project's function counts as a yes.
    """
    rule = conf.approval
    if rule is None or run.action.runs_always(run.arguments) or is_of_secret(run):
        return False
    if rule in APPROVAL_RULES:
        return look.largest_consequence >= Consequence[APPROVAL_RULES[rule]]
    try:
        # A savepoint, so that an error of the database does not spoil an open transaction.
        with db.atomic():
            rows = [row for row in look.rows if not isinstance(row, type)]
            return bool(import_string(rule)(run.action, rows, look.largest_consequence))
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


def _deciding_admins(look: Look) -> Iterator[str]:
    """Yields the classes of a project that decide about rights."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.sites import all_sites  # noqa: PLC0415 (only if it is installed)

    models = [row if isinstance(row, type) else type(row) for row in look.rows]
    methods = [f"has_{right}_permission" for right in ("view", "toggle", "change", "add", "delete")]
    for site, model in product(all_sites, dict.fromkeys([*models, *look.models])):
        model_admin: Any = site.get_model_admin(model) if site.is_registered(model) else None
        if model_admin is not None and overrides(model_admin, "get_queryset", *methods):
            yield type(model_admin).__name__

"""Who may do what waits, and whether it needs the approval of a second person."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import product
from operator import or_
from typing import Any

from django.apps import apps
from django.contrib.auth import get_backends
from django.db import connections
from django.db.models import Exists, OuterRef, Q, Subquery, TextField, Value
from django.db.models.functions import Concat
from django.utils.module_loading import import_string

from flagstaff._connection import is_postgresql
from flagstaff._tables.database import db
from flagstaff._tables.rows import TAGS
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import say, some
from flagstaff.actions.table import (
    INCLUDED_IN,
    Look,
    Right,
    Run,
    lacking,
    overrides,
    permission,
    user_may,
)
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.row_states import Impact
from flagstaff.conf import APPROVAL_RULES, conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.validators import SECRET, SECRET_FIELDS, is_secret, usable_tags

_MAX_APPROVERS = 20

logger = logging.getLogger("flagstaff")

#: The tag of flags whose *off* is the dangerous state.
REVERSE = "reverse"


class NotAllowedError(InvalidChangeError):
    """the user may not do this; nothing was written"""


def require_right(
    run: Run,
    look: Look,
    pk: str,
    reached: Impact | None = None,
    users: Mapping[str, Any] | None = None,
) -> Any:
    """Returns the user with this primary key. Raises NotAllowedError if the user may not do it.

    `reached` is what the change reaches, if it is not that of the look; `users` were read before. A
    ModelAdmin of a project that decides about rights needs a request, so its answer is no.
    """
    reached = look.impact if reached is None else reached
    action, user = run.action, _active_user(pk, users)
    right = look.right or action.right
    if deciding := [*_deciding_admins(look, reached)]:
        raise NotAllowedError(
            "{admin} decides about rights by its own methods, which need a request: do it "
            "without a time and an approval, or move the rights to an authentication backend",
            admin=some(deciding),
        )
    allowed = partial(user_may, user)
    refused = [getattr(row, "key", "") for row in look.rows if not allowed(right, row)]
    keys = some(filter(None, refused)) or f"{action.noun}s"
    if not refused and lacking(allowed, reached):
        # Without the keys, which are stored: a reader may not see all of them.
        refused, keys = [*run.keys], say("all that uses {keys}", keys=some(run.keys))
    if refused:
        raise NotAllowedError(
            "user {user} lacks the right to {right} {keys}",
            user=actor_table().name_of(user),
            right=right,
            keys=keys,
        )
    return user


def require_approver(
    run: Run, look: Look, pk: str, asked_by: str, reached: Impact | None = None
) -> Any:
    """Returns the user who may approve it: another one, with the right. Raises NotAllowedError."""
    if pk == asked_by:
        raise NotAllowedError("it needs the approval of another user than the one who asked")
    return require_right(run, look, pk, reached)


def approver_names(run: Run, look: Look, asked_by: str) -> list[str]:
    """Returns the names of other members of staff who have the right, by Django's permissions.

    The first ones in the order of their names. A query. Permissions for single rows are not known.
    None if a class of the project decides about rights: then nothing waits.
    """
    if any(_deciding_admins(look, look.impact)):
        return []
    right = look.right or run.action.right
    needed = {(right, row if isinstance(row, type) else type(row)) for row in look.rows}

    def note(right: Right, row: Any) -> bool:
        needed.add((right, type(row)))
        return True

    lacking(note, look.impact)
    table = actor_table()
    users = table.rows.filter(is_active=True, is_staff=True).exclude(pk=asked_by)
    for right, model in needed:
        permissions = [permission(name, model) for name in INCLUDED_IN.get(right, (right,))]
        users = users.filter(_has_one_of(permissions))
    name = table.username_field
    ordered = users.order_by(*([name.name] if name else []))
    return [table.name_of(user) for user in ordered[:_MAX_APPROVERS]]


def _has_one_of(permissions: Sequence[str]) -> Q:
    """Returns the condition of users who have one of these permissions of a model."""
    if _only_django_decides():
        # As Django's `with_perm`, but once for all names: it takes a tenth of the time of a page.
        app_label = permissions[0].partition(".")[0]
        codenames = [name.partition(".")[2] for name in permissions]
        held = (
            apps.get_model("auth", "Permission")
            .objects.using(actor_table().database)
            .filter(
                Q(user=OuterRef("pk")) | Q(group__user=OuterRef("pk")),
                content_type__app_label=app_label,
                codename__in=codenames,
            )
        )
        return Q(is_superuser=True) | Q(Exists(held))
    holders = (
        Q(pk__in=backend.with_perm(name).values("pk"))
        for backend, name in product(get_backends(), permissions)
        if hasattr(backend, "with_perm")
    )
    return reduce(or_, holders, Q(pk__in=[]))


def _only_django_decides() -> bool:
    """Whether all backends are Django's own, which know permissions of users and groups."""
    modules = {type(backend).__module__ for backend in get_backends()}
    return modules == {"django.contrib.auth.backends"}


def is_approval_needed(run: Run, rows: Sequence[Any], consequence: Consequence) -> bool:
    """Whether the setting APPROVAL asks for a second person.

    Nothing delays what always runs, such as a rollout to 0 %, and a secret value is not stored to
    wait. An error of the project's function counts as a yes.
    """
    rule, is_new_secret = conf.approval, run.action.creates and is_of_secret(run)
    if rule is None or (run.action.runs_always(run.arguments) and not any(map(is_reverse, rows))):
        return False
    if is_new_secret or any(map(is_secret, run.rows)):
        return False
    if rule in APPROVAL_RULES:
        return consequence >= Consequence[APPROVAL_RULES[rule]]
    try:
        # A savepoint, so that an error of the database does not spoil an open transaction.
        with db.atomic():
            rows = [row for row in rows if not isinstance(row, type)]
            return bool(import_string(rule)(run.action, rows, consequence))
    except Exception:
        logger.exception("flagstaff: the function in APPROVAL failed, so an approval is needed")
        return True


def is_reverse(row: Any) -> bool:
    """Whether *off* is the dangerous state of a flag, so that off gives something, but for a kill.

    Such as that of a check, or of a limit.
    """
    return REVERSE in usable_tags(getattr(row, TAGS, ()))


def is_of_secret(run: Run) -> bool:
    """Whether the arguments may have a secret value; the mark as secret alone has none."""
    has_value = not run.arguments.keys().isdisjoint(SECRET_FIELDS)
    return any(map(is_secret, run.rows)) or (bool(run.arguments.get(SECRET)) and has_value)


def require_user(actor: str) -> str:
    """Returns the actor of the present writes. Raises NotAllowedError if it is not one user."""
    if actor_table().parse_canonical(actor) is None:
        raise NotAllowedError(
            "this needs a user, whose rights count: pass --as USER, and do not act as another user"
        )
    return actor


def users_with_rights(pks: Collection[str], others: Collection[str] = ()) -> dict[str, Any]:
    """Returns users by the text of the primary key, those of `pks` with their permissions.

    Also `others`, of whom the names are shown. One query, if only Django's own backends decide.
    """
    table = actor_table()
    known = {text: table.parse_canonical(text) for text in {*pks, *others}}
    wanted = [pk for pk in known.values() if pk is not None]
    rows: Any = table.rows.filter(pk__in=wanted)
    # Of other databases, and for other backends, each user is asked.
    is_read = (
        _only_django_decides()
        and hasattr(table.field.model, "user_permissions")
        and is_postgresql(connections[table.database])
    )
    asking = [known[text] for text in pks if known[text] is not None]
    if is_read:
        rows = rows.annotate(
            flagstaff_of_user=_permissions("user_permissions", asking),
            flagstaff_of_groups=_permissions("groups__permissions", asking),
        )
    users = {str(user.pk): user for user in rows} if wanted else {}
    for pk in pks if is_read else ():
        if (user := users.get(pk)) is not None and not getattr(user, "is_superuser", False):
            # The cache of Django's ModelBackend.
            vars(user)["_perm_cache"] = {*user.flagstaff_of_user, *user.flagstaff_of_groups}
    return users


def _permissions(path: str, asking: Sequence[object]) -> Subquery:
    """Returns the permissions of a user by this path, if it is one of those who are asked about."""
    name = Concat(f"{path}__content_type__app_label", Value("."), f"{path}__codename")
    users = actor_table().rows.filter(pk=OuterRef("pk"), pk__in=asking)
    return Subquery(
        users.values_list(name), template="ARRAY(%(subquery)s)", output_field=TextField()
    )


def _active_user(pk: str, users: Mapping[str, Any] | None = None) -> Any:
    table = actor_table()
    user = (users_with_rights([pk]) if users is None else users).get(pk)
    if user is None:
        raise NotAllowedError(
            say("user {user} no longer exists", user=repr(pk))
            if pk
            else say("the user was removed from the history")
        )
    if not user.is_active:
        raise NotAllowedError("user {user} is not active", user=table.name_of(user))
    return user


def _deciding_admins(look: Look, reached: Impact) -> Iterator[str]:
    """Yields the classes of a project that decide about rights."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.sites import all_sites  # noqa: PLC0415 (only if it is installed)

    models = [row if isinstance(row, type) else type(row) for row in look.rows]
    models += [use.model for use in reached.given]
    rights = ("view", "toggle", "change", "add", "delete", "group")
    methods = [f"has_{right}_permission" for right in rights]
    for site, model in product(all_sites, dict.fromkeys([*models, *look.models])):
        model_admin: Any = site.get_model_admin(model) if site.is_registered(model) else None
        if model_admin is not None and overrides(model_admin, "get_queryset", *methods):
            yield type(model_admin).__name__

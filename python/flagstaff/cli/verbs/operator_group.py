"""A group of Django with the permissions of an operator: create-operator-group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, router, transaction
from django.db.models import Model, Q

from flagstaff._extensions import optional_apps
from flagstaff._tables.optional_fields import RULES, flag_model
from flagstaff._tables.sqlstate import is_missing_table
from flagstaff._words.cells import Column
from flagstaff._words.counted import counted
from flagstaff._words.lists import some
from flagstaff.cli.support.change_arguments import add_dry_run
from flagstaff.cli.support.errors import FAILED, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.history.user_names import permission_to_see_users
from flagstaff.models import FeatureFlag, KeyValueStore, Segment

_AUTH = "django.contrib.auth"
_NAME = "Flag operators"
# The most that a message names.
_MAX_NAMED = 5


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--name", default=_NAME, metavar="NAME", help=f'by default "{_NAME}"; updated if it exists'
    )
    parser.add_argument(
        "--no-users",
        action="store_true",
        help="leave out the permission to see users, and so who is allowed",
    )
    add_dry_run(parser)


def _run(options: Options, out: Output) -> None:
    if not apps.is_installed(_AUTH):
        raise CommandError(f"{_AUTH} is not in INSTALLED_APPS", returncode=FAILED)
    from django.contrib.auth.models import Group  # noqa: PLC0415 (needs the app)

    name, database = options["name"], router.db_for_write(Group)
    longest = Group._meta.get_field("name").max_length or 0
    if not name.strip() or not name.isprintable() or len(name) > longest:
        message = f"{name!a} cannot be the name of a group; use 1 to {longest} printable characters"
        raise CommandError(message, returncode=USAGE)
    try:
        with transaction.atomic(using=database):
            changed = _changed(name, database, options, out)
    except DatabaseError as error:
        if not is_missing_table(error):
            raise
        message = f'database "{database}" has no tables of {_AUTH}; run "manage.py migrate"'
        raise CommandError(message, returncode=FAILED) from error
    _print(changed, out)


def _changed(name: str, database: str, options: Options, out: Output) -> dict[str, Any]:
    """Creates or updates the group, except in a dry run. Returns the document of the change."""
    from django.contrib.auth.models import Group  # noqa: PLC0415 (needs the app)

    wanted = _permissions([*_operator_permissions(with_users=not options["no_users"])], database)
    group = Group.objects.using(database).filter(name=name).first()
    owned = _owned(group, database) if group else {}
    added = [one for one in wanted if one not in owned]
    removed = [one for one in owned if one not in wanted]
    is_created = group is None
    if not out.is_dry_run:
        group = group or Group.objects.using(database).create(name=name)
        group.permissions.add(*(wanted[one] for one in added))
        group.permissions.remove(*(owned[one] for one in removed))
    return {
        "group": name,
        "created": is_created,
        "permissions": [*wanted],
        "added": added,
        "removed": removed,
        **({"dry_run": True} if out.is_dry_run else {}),
    }


def _operator_permissions(*, with_users: bool) -> Iterator[str]:
    """Yields the permissions of an operator, such as "flagstaff.toggle_featureflag"."""
    yield _permission("view", conf.flag_model)
    yield _permission("toggle", conf.flag_model)
    yield _permission("view", conf.value_model)
    # Without a column for rules, no rule can use a segment.
    if flag_model().has(RULES):
        yield _permission("view", Segment)
    for model in _models_of_apps():
        yield _permission("view", model)
    if with_users:
        yield permission_to_see_users()


def _permission(action: str, model: type[Model]) -> str:
    return f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}"


def _models_of_apps() -> list[type[Model]]:
    return [model for app in optional_apps() for model in app.operator_models()]


def _permissions(names: list[str], database: str) -> dict[str, Any]:
    """Returns the stored permissions by name. Raises CommandError if one does not exist."""
    from django.contrib.auth.models import Permission  # noqa: PLC0415 (needs the app)

    condition = Q()
    for name in names:
        app, _dot, codename = name.partition(".")
        condition |= Q(content_type__app_label=app, codename=codename)
    found = _by_name(Permission.objects.using(database).filter(condition))
    if missing := [name for name in names if name not in found]:
        message = (
            f"there is no permission {some(missing, _MAX_NAMED)}; add it to default_permissions of "
            'the model, and run "manage.py migrate"'
        )
        raise CommandError(message, returncode=FAILED)
    return {name: found[name] for name in names}


def _owned(group: Any, database: str) -> dict[str, Any]:
    """Returns the permissions of the group that this command decides about."""
    models: list[type[Model]] = [conf.flag_model, conf.value_model, *_models_of_apps()]
    # A group from before the project had models of its own.
    models += [FeatureFlag, KeyValueStore, Segment]
    condition = Q()
    for model in models:
        meta = model._meta
        condition |= Q(content_type__app_label=meta.app_label, content_type__model=meta.model_name)
    app, _dot, codename = permission_to_see_users().partition(".")
    condition |= Q(content_type__app_label=app, codename=codename)
    return _by_name(group.permissions.using(database).filter(condition))


def _by_name(permissions: Any) -> dict[str, Any]:
    rows = permissions.select_related("content_type").order_by(
        "content_type__app_label", "codename"
    )
    return {f"{row.content_type.app_label}.{row.codename}": row for row in rows}


def _print(changed: dict[str, Any], out: Output) -> None:
    name = f'"{changed["group"]}"'
    if changed["created"]:
        count = counted(len(changed["permissions"]), "permission")
        out.message(f"created the group {name} with {count}; add staff users to it")
    elif changed["added"] or changed["removed"]:
        out.message(f"updated the group {name}")
    else:
        out.message(f"the group {name} has these permissions already; nothing was changed")
    if out.is_json:
        out.document(changed)
        return
    states = dict.fromkeys(changed["permissions"], "unchanged")
    states |= dict.fromkeys(changed["added"], "added") | dict.fromkeys(
        changed["removed"], "removed"
    )
    records = [{"permission": one, "change": state} for one, state in states.items()]
    out.records((Column("permission"), Column("change")), records)


CREATE_OPERATOR_GROUP = Verb(
    name="create-operator-group",
    help="create or update a group of users with the permissions of an operator",
    examples=("create-operator-group", 'create-operator-group --name "On call" --no-users'),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)

"""Who has a flag in any case: a flag's allow-list, changed for one user or for very many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model, QuerySet

from flagstaff._tables.names import user_field
from flagstaff.changes.changed import Changed, Undo, undo_by_version
from flagstaff.changes.fields import touch
from flagstaff.changes.locking import check_version, locked_row
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import version_of

__all__ = [
    "ALLOWED",
    "add_allowed_users",
    "allowed_pks",
    "chunks",
    "move_users",
    "need_users",
    "remove_allowed_users",
    "there_are",
    "user_pks",
]

ALLOWED = "allowed_users"
# The history has an entry for each statement, so that they are few.
_MOST_IN_A_STATEMENT = 10_000
# An undo for more users than this is no line to be typed.
_MOST_TYPED = 20
_MOST_NAMED = 5


def add_allowed_users(
    key: str, users: Any, *, expect_version: int | None = None, skip_unknown: bool = False
) -> Changed:
    """Put users on a flag's allow-list: one, or any number, each a user or a primary key.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError where somebody is no user; with
    `skip_unknown` these are left out, and named in what it gives.
    """
    wanted = user_pks(users)
    with locked_row(Kind.FLAG, key) as flag:
        here = there_are(wanted) if skip_unknown else need_users(wanted)
        missing = tuple(pk for pk in wanted if pk not in here)
        present = allowed_pks(flag)
        come = [pk for pk in wanted if pk in here and pk not in present]
        return _changed(flag, come, [], expect_version, missing)


def remove_allowed_users(key: str, users: Any, *, expect_version: int | None = None) -> Changed:
    """Take users off a flag's allow-list. Who is not on it is left alone.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError for what cannot be a user.
    """
    wanted = user_pks(users)
    with locked_row(Kind.FLAG, key) as flag:
        present = allowed_pks(flag)
        return _changed(flag, [], [pk for pk in wanted if pk in present], expect_version)


def move_users(flag: Any, come: Iterable[Any], go: Iterable[Any]) -> None:
    """Let users go from the allow-list of a locked flag, and others come."""
    for pks in chunks(go):
        flag.allowed_users.remove(*pks)
    for pks in chunks(come):
        flag.allowed_users.add(*pks)


def allowed_pks(flag: Any) -> set[Any]:
    """Who is on the allow-list of a flag, in the database that is written to."""
    many: Any = flag._meta.get_field(ALLOWED)
    through = many.remote_field.through._base_manager.using(conf.database)
    names = many.m2m_field_name(), many.m2m_reverse_field_name()
    flag_id, user_id = (through.model._meta.get_field(name).attname for name in names)
    of = many.remote_field.through._meta.get_field(names[0]).target_field.attname
    return set(through.filter(**{flag_id: getattr(flag, of)}).values_list(user_id, flat=True))


def there_are(pks: Iterable[Any]) -> set[Any]:
    """Those of the primary keys that users have."""
    field = user_field(conf.flag_model)
    rows: QuerySet[Any] = field.model._base_manager.using(conf.database)
    found: set[Any] = set()
    for some in chunks(pks):
        found.update(rows.filter(**{f"{field.name}__in": some}).values_list(field.name, flat=True))
    return found


def need_users(pks: Iterable[Any]) -> set[Any]:
    """The primary keys. Raises InvalidChangeError where one of them is no user's."""
    pks = list(pks)
    here = there_are(pks)
    if missing := [pk for pk in pks if pk not in here]:
        raise InvalidChangeError(_nobody(missing))
    return here


def user_pks(users: Any) -> list[Any]:
    """One user or many, each an object or a primary key → primary keys, each once."""
    field = user_field(conf.flag_model)
    is_one = isinstance(users, str | Model) or not isinstance(users, Iterable)
    return list(dict.fromkeys(_pk(field, user) for user in ([users] if is_one else users)))


def _pk(field: Any, user: Any) -> Any:
    if isinstance(user, field.model):
        user = getattr(user, field.attname)
    elif isinstance(user, Model):
        raise InvalidChangeError(f"a {type(user).__name__} is no user")
    try:
        pk = None if isinstance(user, bool | float) else field.to_python(user)
        field.run_validators(pk)
    except (ValidationError, TypeError, ValueError):
        pk = None
    if pk is None:
        raise InvalidChangeError(f"{user!r} is neither a user nor the primary key of one")
    return pk


def _changed(
    flag: Any,
    come: list[Any],
    go: list[Any],
    expect_version: int | None,
    missing: tuple[Any, ...] = (),
) -> Changed:
    written = bool(come or go)
    if written:
        check_version(Kind.FLAG, flag.key, flag.pk, expect_version)
        move_users(flag, come, go)
        touch(flag)
    version = version_of(Kind.FLAG, flag.pk)
    undo = _undo(flag.key, come, go, version) if written else None
    return Changed(flag.key, ALLOWED, go, come, written, version, undo, missing=missing)


def _undo(key: str, come: list[Any], go: list[Any], version: int | None) -> Undo | None:
    typed = [str(pk) for pk in come or go]
    if version and (len(typed) > _MOST_TYPED or any(pk.startswith("-") for pk in typed)):
        return undo_by_version(Kind.FLAG, key, version)
    return Undo(("deny" if come else "allow", key, *typed))


def _nobody(missing: list[Any]) -> str:
    named = ", ".join(map(str, missing[:_MOST_NAMED]))
    more = f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
    return f"no user has the primary key {named}{more}; nothing was changed"


def chunks(pks: Iterable[Any]) -> Iterator[list[Any]]:
    """As many at once as a statement may have."""
    most = connections[conf.database].features.max_query_params
    # One place is the flag's.
    size = min(most - 1, _MOST_IN_A_STATEMENT) if most else _MOST_IN_A_STATEMENT
    left = list(pks)
    for start in range(0, len(left), size):
        yield left[start : start + size]

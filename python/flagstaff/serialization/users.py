"""Users in a file: by username, and by primary key where a username would not tell them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Count, QuerySet

from flagstaff._tables.names import user_field
from flagstaff.changes.allowed_users import ALLOWED, chunks, there_are
from flagstaff.conf import conf
from flagstaff.serialization.document import UserRef

__all__ = ["Known", "allow_lists", "known", "names", "said_of"]


@dataclass(frozen=True)
class Known:
    """Those of the users of a file who are here."""

    pks: Mapping[UserRef, Any]
    #: Usernames that more than one has.
    shared: frozenset[UserRef]


def allow_lists(flags: Iterable[Any]) -> dict[Any, set[Any]]:
    """Who is on the allow-list of each of these flags, by the primary key of the flag."""
    many: Any = conf.flag_model._meta.get_field(ALLOWED)
    through = many.remote_field.through
    names = many.m2m_field_name(), many.m2m_reverse_field_name()
    flag_id, user_id = (through._meta.get_field(name).attname for name in names)
    of = through._meta.get_field(names[0]).target_field.attname
    by_reference = {getattr(flag, of): flag.pk for flag in flags}
    found: dict[Any, set[Any]] = defaultdict(set)
    for some in chunks(by_reference):
        rows = through._base_manager.using(conf.database).filter(**{f"{flag_id}__in": some})
        for flag, user in rows.values_list(flag_id, user_id):
            found[by_reference[flag]].add(user)
    return found


def names(pks: Iterable[Any]) -> dict[Any, str]:
    """The usernames of these users, as far as each is a text and that of one user alone."""
    username = _username()
    if username is None:
        return {}
    found: dict[Any, Any] = {}
    for some in chunks(pks):
        rows = _users().filter(**{f"{user_field(conf.flag_model).name}__in": some})
        found.update(rows.values_list(user_field(conf.flag_model).name, username.name))
    found = {pk: name for pk, name in found.items() if name and isinstance(name, str)}
    shared = set() if username.unique else _shared(username.name, found.values())
    return {pk: name for pk, name in found.items() if name not in shared}


def said_of(pks: Iterable[Any], names: Mapping[Any, str]) -> list[Any]:
    """What a file says of these users, in an order that is always the same."""
    pks = list(pks)
    named: list[Any] = sorted(names[pk] for pk in pks if pk in names)
    others = sorted((pk for pk in pks if pk not in names), key=str)
    return named + [{"pk": pk if isinstance(pk, int) else str(pk)} for pk in others]


def known(refs: Iterable[UserRef]) -> Known:
    """Who is meant."""
    refs = set(refs)
    pks = {ref: _as_pk(ref.pk) for ref in refs if ref.name is None}
    here = there_are({pk for pk in pks.values() if pk is not None})
    by_name, shared = _by_name({ref.name for ref in refs if ref.name is not None})
    found = {ref: pk for ref, pk in pks.items() if pk in here}
    found |= {ref: by_name[ref.name] for ref in refs if ref.name in by_name}
    return Known(found, frozenset(ref for ref in refs if ref.name in shared))


def _by_name(texts: set[str]) -> tuple[dict[str | None, Any], set[str | None]]:
    username = _username()
    if username is None:
        return {}, set()
    found: dict[str | None, Any] = {}
    shared: set[str | None] = set()
    for some in chunks(texts):
        rows = _users().filter(**{f"{username.name}__in": some})
        for name, pk in rows.values_list(username.name, user_field(conf.flag_model).name):
            if found.setdefault(name, pk) != pk:
                shared.add(name)
    return {name: pk for name, pk in found.items() if name not in shared}, shared


def _as_pk(said: Any) -> Any:
    field = user_field(conf.flag_model)
    try:
        pk = field.to_python(said)
        field.run_validators(pk)
    except (ValidationError, TypeError, ValueError):
        return None
    return pk


def _username() -> Any:
    model: Any = user_field(conf.flag_model).model
    try:
        return model._meta.get_field(getattr(model, "USERNAME_FIELD", ""))
    except FieldDoesNotExist:
        return None


def _shared(username: str, found: Iterable[str]) -> set[str]:
    shared: set[str] = set()
    for some in chunks(set(found)):
        rows = _users().filter(**{f"{username}__in": some}).order_by().values(username)
        many = rows.annotate(flagstaff_count=Count("pk")).filter(flagstaff_count__gt=1)
        shared.update(many.values_list(username, flat=True))
    return shared


def _users() -> QuerySet[Any]:
    return user_field(conf.flag_model).model._base_manager.using(conf.database)

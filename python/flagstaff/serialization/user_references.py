"""Users in a document: by username, or by primary key if the username is empty or shared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flagstaff._tables.users import allowed_user_table, batches
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.conf import conf
from flagstaff.serialization.document import UserRef

__all__ = ["ResolvedUsers", "allowed_user_pks", "resolve_users", "serialize_users", "usernames"]


@dataclass(frozen=True)
class ResolvedUsers:
    """The users of a document that exist in the database."""

    #: The primary key of each user that exists.
    pks: Mapping[UserRef, Any]
    #: Usernames that several users have.
    shared: frozenset[UserRef]


def allowed_user_pks(flags: Iterable[Any]) -> dict[Any, set[Any]]:
    """Returns the primary keys of the allowed users, by the primary key of the flag. Queries."""
    many: Any = conf.flag_model._meta.get_field(ALLOWED)
    through = many.remote_field.through
    fields = [
        through._meta.get_field(name)
        for name in (many.m2m_field_name(), many.m2m_reverse_field_name())
    ]
    flag_id, user_id = (field.attname for field in fields)
    target = fields[0].target_field.attname
    by_reference = {getattr(flag, target): flag.pk for flag in flags}
    found: dict[Any, set[Any]] = defaultdict(set)
    for batch in batches(by_reference):
        rows = through._base_manager.using(conf.database).filter(**{f"{flag_id}__in": batch})
        for flag, user in rows.values_list(flag_id, user_id):
            found[by_reference[flag]].add(user)
    return found


def usernames(pks: Iterable[Any]) -> dict[Any, str]:
    """Returns the usernames of these users, except empty and shared ones. Queries the users."""
    return allowed_user_table().unique_usernames(pks)


def serialize_users(pks: Iterable[Any], usernames: Mapping[Any, str]) -> list[Any]:
    """Returns these users as a document lists them: sorted usernames, then primary keys."""
    pks = list(pks)
    by_name: list[Any] = sorted(usernames[pk] for pk in pks if pk in usernames)
    others = sorted((pk for pk in pks if pk not in usernames), key=str)
    return by_name + [{"pk": pk if isinstance(pk, int) else str(pk)} for pk in others]


def resolve_users(refs: Iterable[UserRef]) -> ResolvedUsers:
    """Finds the users of a document in the database. Queries the users."""
    refs, table = set(refs), allowed_user_table()
    pks = {ref: table.parse(ref.pk) for ref in refs if ref.name is None}
    existing = table.existing(pk for pk in pks.values() if pk is not None)
    by_name, shared = table.by_username({ref.name for ref in refs if ref.name is not None})
    found = {ref: pk for ref, pk in pks.items() if pk in existing}
    found |= {ref: by_name[ref.name] for ref in refs if ref.name in by_name}
    return ResolvedUsers(found, frozenset(ref for ref in refs if ref.name in shared))

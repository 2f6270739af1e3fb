"""Users in a file: by username, and by primary key where a username would not tell them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flagstaff._tables.users import allowed_user_table, batches
from flagstaff.changes.allowed_users import ALLOWED
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
    for some in batches(by_reference):
        rows = through._base_manager.using(conf.database).filter(**{f"{flag_id}__in": some})
        for flag, user in rows.values_list(flag_id, user_id):
            found[by_reference[flag]].add(user)
    return found


def names(pks: Iterable[Any]) -> dict[Any, str]:
    """Returns the usernames of these users, except empty and shared ones. Queries the users."""
    return allowed_user_table().unique_usernames(pks)


def said_of(pks: Iterable[Any], names: Mapping[Any, str]) -> list[Any]:
    """What a file says of these users, in an order that is always the same."""
    pks = list(pks)
    named: list[Any] = sorted(names[pk] for pk in pks if pk in names)
    others = sorted((pk for pk in pks if pk not in names), key=str)
    return named + [{"pk": pk if isinstance(pk, int) else str(pk)} for pk in others]


def known(refs: Iterable[UserRef]) -> Known:
    """Who is meant."""
    refs, table = set(refs), allowed_user_table()
    pks = {ref: table.parse(ref.pk) for ref in refs if ref.name is None}
    here = table.existing(pk for pk in pks.values() if pk is not None)
    by_name, shared = table.by_username({ref.name for ref in refs if ref.name is not None})
    found = {ref: pk for ref, pk in pks.items() if pk in here}
    found |= {ref: by_name[ref.name] for ref in refs if ref.name in by_name}
    return Known(found, frozenset(ref for ref in refs if ref.name in shared))

"""Users in a file: by username, or by primary key if the username is not unique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flagstaff._tables.rows import PrimaryKey
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.serialization.document import UserRef


@dataclass(frozen=True)
class FoundUsers:
    """The users of a file that the database has."""

    pks: Mapping[UserRef, PrimaryKey]
    #: Usernames that several users share.
    shared: frozenset[UserRef]


def usernames_of(pks: Iterable[PrimaryKey]) -> dict[PrimaryKey, str]:
    """Returns the usernames of these users, except empty and shared ones. Queries the users."""
    return allowed_user_table().unique_usernames(pks)


def user_entries(pks: Iterable[PrimaryKey], usernames: Mapping[PrimaryKey, str]) -> list[object]:
    """Returns these users as a file lists them, in a fixed order."""
    pks = list(pks)
    named = sorted(usernames[pk] for pk in pks if pk in usernames)
    unnamed = sorted((pk for pk in pks if pk not in usernames), key=str)
    return [*named, *({"pk": pk if isinstance(pk, int) else str(pk)} for pk in unnamed)]


def find_users(refs: Iterable[UserRef]) -> FoundUsers:
    """Returns the users that these entries of a file stand for. Queries the users."""
    refs, table = set(refs), allowed_user_table()
    pks = {ref: table.parse(ref.pk) for ref in refs if ref.name is None}
    existing = table.existing(pk for pk in pks.values() if pk is not None)
    by_name, shared = table.by_username({ref.name for ref in refs if ref.name is not None})
    pks_by_ref = {ref: pk for ref, pk in pks.items() if pk in existing}
    pks_by_ref |= {ref: by_name[ref.name] for ref in refs if ref.name in by_name}
    return FoundUsers(pks_by_ref, frozenset(ref for ref in refs if ref.name in shared))

"""The allowed users of a flag, one page at a time, also if there are 100,000 of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Model, Q, QuerySet

from flagstaff._tables.rows import Row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.storable import is_storable
from flagstaff.changes.allowed_users import links_of

PAGE_SIZE = 50


@dataclass(frozen=True)
class ListedUser:
    """An allowed user."""

    #: The text of the primary key.
    pk: str
    #: The username, or "" if no user has the primary key.
    name: str


@dataclass(frozen=True)
class UserPage:
    """A page of the allowed users that match a search, in the order of their primary keys."""

    users: Sequence[ListedUser]
    #: The number of those that match.
    found: int
    #: The position of the first user of the page, from 1.
    first: int
    #: The last primary key of the page if there are more users, else "".
    next_after: str

    @property
    def last(self) -> int:
        """The position of the last user of the page."""
        return self.first + len(self.users) - 1


def user_page(flag: Row, search: str = "", after: str = "") -> UserPage:
    """Returns the users after the one with this primary key. Queries; blocks.

    A position that no longer has users, or that is no primary key, stands for the first page.
    """
    links, to_user = links_of(flag)
    column = to_user.attname
    matching = _matching(links, to_user.name, column, search.strip())
    position = allowed_user_table().parse(after) if after else None
    later = matching if position is None else matching.filter(**{f"{column}__gt": position})
    pks = [*later.order_by(column).values_list(column, flat=True)[: PAGE_SIZE + 1]]
    if not pks and position is not None:
        return user_page(flag, search)
    skipped = 0 if position is None else matching.filter(**{f"{column}__lte": position}).count()
    page_pks, more = pks[:PAGE_SIZE], pks[PAGE_SIZE:]
    # A search reads all allowed users of the flag, so do not count what the page has shown.
    total = matching.count() if more else skipped + len(page_pks)
    return UserPage(_named(page_pks), total, skipped + 1, str(page_pks[-1]) if more else "")


def first_users(flag: Row, limit: int) -> list[ListedUser]:
    """Returns the first allowed users in the order of their primary keys. Two queries."""
    links, to_user = links_of(flag)
    column = to_user.attname
    return _named([*links.order_by(column).values_list(column, flat=True)[:limit]])


def _matching(links: QuerySet[Model], user: str, column: str, search: str) -> QuerySet[Model]:
    """The links to users whose username contains the text, or whose primary key it is."""
    if not search:
        return links
    table = allowed_user_table()
    username, pk = table.username_field, table.parse(search)
    matches = [] if pk is None else [Q(**{column: pk})]
    if username is not None and is_storable(search):
        matches.append(Q(**{f"{user}__{username.name}__icontains": search}))
    if not matches:
        return links.none()
    return links.filter(Q(*matches, _connector=Q.OR))


def _named(pks: Sequence[object]) -> list[ListedUser]:
    names = allowed_user_table().names(map(str, pks))
    return [ListedUser(str(pk), names.get(str(pk), "")) for pk in pks]

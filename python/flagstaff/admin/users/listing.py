"""The allowed users of a flag, one page at a time, also if there are 100,000 of them."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.paginator import Page, Paginator
from django.db.models import Model, Q, QuerySet

from flagstaff._tables.rows import Row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.text import is_storable
from flagstaff.changes.allowed_users import links_of

PAGE_SIZE = 50


def listed_users(
    flag: Row, search: str, number: str, total: int
) -> tuple[Page[object], Sequence[tuple[str, str]]]:
    """Returns a page of the users who match a search, and their primary keys with their names.

    The order is that of the primary keys. A name is "" if no user has the primary key. `total` is
    the number of all allowed users. A number without a page stands for the first or the last one.
    Queries; blocks.
    """
    links, to_user = links_of(flag)
    column = to_user.attname
    matching = _matching(links, to_user.name, column, search.strip())
    paginator = Paginator(matching.order_by(column).values_list(column, flat=True), PAGE_SIZE)
    if matching is links:
        # They have been counted.
        paginator.count = total
    page = paginator.get_page(number)
    pks = [str(pk) for pk in page]
    names = allowed_user_table().names(pks)
    return page, [(pk, names.get(pk, "")) for pk in pks]


def first_names(flag: Row, limit: int) -> list[str]:
    """Returns the names of the first users that exist, or else their primary keys. One query."""
    links, to_user = links_of(flag)
    table = allowed_user_table()
    name, attname = table.field.name, table.field.attname
    first = links.order_by(to_user.attname).values(to_user.attname)[:limit]
    users = table.rows.filter(**{f"{name}__in": first}).order_by(name)
    return [table.name_of(user) or str(getattr(user, attname)) for user in users]


def _matching(links: QuerySet[Model], user: str, column: str, search: str) -> QuerySet[Model]:
    """The links to users whose username contains the text, or whose primary key it is."""
    if not search:
        return links
    table = allowed_user_table()
    username, pk = table.username_field, table.parse(search)
    matches = [] if pk is None else [Q(**{column: pk})]
    if username is not None and is_storable(search):
        matches.append(Q(**{f"{user}__{username.name}__icontains": search}))
    return links.filter(Q(*matches, _connector=Q.OR)) if matches else links.none()

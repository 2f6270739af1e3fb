"""The smallest first step for which a site has enough users.

A step passes with the required number of users inside, if the guards cannot bound the harm before.
A site that has fewer of them inside at 1 % would hold there for ever.
"""

from __future__ import annotations

from django.db import DatabaseError, transaction

from flagstaff._tables.bucket_units import USER
from flagstaff._tables.rows import FlagRow
from flagstaff._tables.user_lookup import allowed_user_table

_ALL = 100
_TENTH = 10
# Fewer users than this show nothing.
_LEAST = 10


def smallest_first_step(users: int, required_users: int) -> int:
    """Returns the smallest percentage that has the required users inside if all users come.

    100 if none below has. A smaller step can end only by a guard that trips.

        >>> smallest_first_step(12_000, 1_000), smallest_first_step(100_000, 1_000)
        (9, 1)
        >>> smallest_first_step(900, 1_000)
        100
    """
    return min(max(-(-_ALL * required_users // users), 1), _ALL) if users > 0 else _ALL


def first_step_of(flag: FlagRow, required_users: int) -> int | None:
    """Returns this for the users of the site; None where they say nothing. Makes one query."""
    users = users_of_site(flag, _ALL * required_users)
    return smallest_first_step(users, required_users) if users else None


def usual_required_users(flag: FlagRow | None, most: int) -> int:
    """Returns a number that a tenth of the users of the site can reach, up to `most`.

    `most` where the users say nothing. Makes one query.
    """
    users = None if flag is None else users_of_site(flag, most * _TENTH)
    return most if not users else min(max(users // _TENTH, _LEAST), most)


def users_of_site(flag: FlagRow, enough: int) -> int | None:
    """Returns the number of users, counted up to `enough`; None where they say nothing.

    That is for another bucketing unit than the user, and if they cannot be counted. Makes one
    query. Users who never come count, too, so fewer of them meet the flag.
    """
    if flag.bucket_by != USER:
        return None
    users = allowed_user_table().rows.order_by()
    try:
        with transaction.atomic(using=users.db):
            return users.values("pk")[:enough].count()
    except DatabaseError:
        return None

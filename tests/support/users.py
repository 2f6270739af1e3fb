"""Users beside those of the shop."""

from typing import Any

from django.contrib.auth.models import User

__all__ = ["create_users"]


def create_users(
    count: int, name: str = "user", *, first_pk: int | None = None, **fields: Any
) -> list[User]:
    """Creates so many users; with fixed primary keys, which decide who is in a percentage."""
    pks = [None] * count if first_pk is None else range(first_pk, first_pk + count)
    users = [User(pk=pk, username=f"{name}{number:04}", **fields) for number, pk in enumerate(pks)]
    # A statement has at most 65,535 parameters.
    return User.objects.bulk_create(users, batch_size=5_000)

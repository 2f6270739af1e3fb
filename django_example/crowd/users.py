"""The users of the crowd page: all customers, ordered by primary key."""

from __future__ import annotations

from django.contrib.auth import get_user_model

MAX_USERS = 400  # more dots do not fit on a screen with four panels


def crowd_users() -> list[tuple[int, str]]:
    """Returns the primary key and the username of each user."""
    customers = get_user_model().objects.filter(is_staff=False, is_active=True)
    return list(customers.order_by("pk").values_list("pk", "username")[:MAX_USERS])

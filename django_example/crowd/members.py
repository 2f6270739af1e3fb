"""The people who stand in the crowd: every customer, in the order of their primary keys."""

from __future__ import annotations

from django.contrib.auth import get_user_model

MOST = 400  # more dots than this do not fit on a screen four times


def members() -> list[tuple[int, str]]:
    customers = get_user_model().objects.filter(is_staff=False, is_active=True)
    return list(customers.order_by("pk").values_list("pk", "username")[:MOST])

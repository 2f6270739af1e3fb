"""Changes through Django's models, run by a worker ("call")."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db import connection

from flagstaff.models import FeatureFlag

__all__ = ["add_user", "clear_users", "delete_user", "rename", "set_users"]


def _flag() -> FeatureFlag:
    return FeatureFlag.objects.get(key="new_checkout")


def add_user() -> None:
    _flag().allowed_users.add(4)
    connection.close()


def set_users() -> None:
    _flag().allowed_users.set([4])
    connection.close()


def clear_users() -> None:
    _flag().allowed_users.clear()
    connection.close()


def delete_user() -> None:
    """Deletes the allowed user, which removes them from the flag."""
    get_user_model().objects.get(pk=2).delete()
    connection.close()


def rename() -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(key="checkout")
    connection.close()

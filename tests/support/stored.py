"""Rows that the shop does not have, and rows read anew."""

from typing import Any

from django.contrib.auth.models import User

from flagstaff.models import FeatureFlag, KeyValueStore

__all__ = ["create_value", "names_of_allowed", "stored_flag", "stored_value"]


def create_value(key: str, *rules: object, value: object = 10, **fields: Any) -> KeyValueStore:
    """Creates a value with these rules, whose own value is 10."""
    return KeyValueStore.objects.create(key=key, value=value, rules=[*rules], **fields)


def stored_flag(key: str) -> FeatureFlag:
    return FeatureFlag.objects.get(key=key)


def stored_value(key: str) -> Any:
    return KeyValueStore.objects.get(key=key).value


def names_of_allowed(key: str) -> list[str]:
    """Returns the usernames of the allowed users of a flag, in their order."""
    users = User.objects.filter(flagstaff_flags__key=key).order_by("username")
    return [*users.values_list("username", flat=True)]

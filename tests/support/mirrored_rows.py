"""Rows of waffle, and what the mirror has made of them."""

from __future__ import annotations

from typing import Any

from waffle.models import Flag, Switch

from flagstaff.compat.models import WaffleRow
from flagstaff.models import FeatureFlag


def new_flag(name: str, **fields: Any) -> Flag:
    """Saves a flag of waffle."""
    row = Flag(name=name, **fields)
    row.save()
    return row


def new_switch(name: str, *, active: bool) -> Switch:
    """Saves a switch of waffle."""
    row = Switch(name=name, active=active)
    row.save()
    return row


def flag_of(key: str) -> FeatureFlag:
    """Returns the flag as the database has it."""
    return FeatureFlag.objects.get(key=key)


def is_on(key: str) -> bool:
    """Whether the flag exists and is enabled."""
    return FeatureFlag.objects.filter(key=key, enabled=True).exists()


def allowed(key: str) -> set[str]:
    """Returns the usernames of the allowed users."""
    return set(flag_of(key).allowed_users.values_list("username", flat=True))


def problem(name: str) -> str:
    """Returns why the last change could not be written."""
    return WaffleRow.objects.get(name=name).problem


def served(settings: Any, *names: str) -> None:
    """Serves flags of these names from flagstaff."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SERVE": [*names]}}

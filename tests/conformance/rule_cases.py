"""The cases of rules as arguments of the functions of the package."""

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from tests.conformance.rules_oracle import MISSING, NEEDS_USER, decoded

Case = dict[str, Any]
# The cases have its wall clock.
BERLIN = ZoneInfo("Europe/Berlin")
BUILT_IN = {"is_authenticated", "is_staff", "is_superuser"}


def no_attributes(user: object, request: object) -> dict[str, object]:
    """The callable of ATTRIBUTES. An attribute that it could return needs the user object."""
    return {}


#: The setting ATTRIBUTES.
ATTRIBUTES = f"{__name__}.no_attributes"


def context_of(case: Case) -> dict[str, object]:
    """The attributes of a case, without those that a caller cannot pass."""
    attributes = {name: decoded(value) for name, value in case["attributes"].items()}
    return {
        name: without_missing(value)
        for name, value in attributes.items()
        if value is not NEEDS_USER and name not in BUILT_IN
    }


def without_missing(value: object) -> object:
    """The value with None for what is missing."""
    if isinstance(value, list):
        return [without_missing(element) for element in value]
    return None if value is MISSING else value


def users_of(case: Case) -> list[Any]:
    """All arguments that may be passed for the user of a case."""
    pk = case.get("user", "2")
    if pk is None:
        return [None, AnonymousUser(), User(pk=None), SimpleLazyObject(AnonymousUser)]
    if needs_user(case):
        return [int(pk), pk, SimpleLazyObject(lambda: int(pk))]
    if not pk.isdecimal():
        return [pk]
    user = User(pk=int(pk))
    return [user, int(pk), pk, SimpleLazyObject(lambda: user)]


def needs_user(case: Case) -> bool:
    return NEEDS_USER in map(decoded, case["attributes"].values())

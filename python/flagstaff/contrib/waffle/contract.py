"""What django-waffle 5 returns for stored rows from their columns, for models with own code.

Result by result and identity by identity: own code calls these methods by `super()`.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from flagstaff.contrib.waffle import evaluating

_ALL = 100


def is_drawn(percent: Any) -> bool:
    """Returns a random result of a percentage."""
    return bool(Decimal(str(random.uniform(0, _ALL))) <= percent)  # noqa: S311 (no secret)


def is_active(self: Any, request: Any, read_only: bool = False) -> Any:  # noqa: FBT001, FBT002 (waffle's signature)
    by_url = evaluating.url_result(self.name, request)
    if by_url is not None:
        return by_url
    if self.everyone is not None:
        return self.everyone
    if self.testing:
        test = evaluating.test_of_url(self.name, request)
        if test is not None:
            evaluating.keep_test(request, self.name, active=test)
            return test
        test = evaluating.test_of_cookie(self.name, request)
        if test is not None:
            return test
    result = self._is_active_for_language(request)
    if result is None:
        result = self._is_active_for_user(request)
    if result is None:
        result = self._is_active_for_percent(request, read_only)
    return False if result is None else result


def is_active_for_user(self: Any, user: Any) -> Any:
    if self.everyone is not None:
        return self.everyone
    is_on = (
        (self.authenticated and user.is_authenticated)
        or (self.staff and getattr(user, "is_staff", False))
        or (self.superusers and getattr(user, "is_superuser", False))
    )
    return True if is_on else None


def is_active_for_language(self: Any, request: Any) -> Any:
    if not self.languages:
        return None
    languages = [language.strip() for language in self.languages.split(",")]
    return True if getattr(request, "LANGUAGE_CODE", None) in languages else None


def is_active_for_percent(self: Any, request: Any, read_only: bool) -> Any:  # noqa: FBT001
    if not self.percent or self.percent <= 0:
        return None
    if not hasattr(request, "waffles"):
        request.waffles = {}
    elif self.name in request.waffles:
        return request.waffles[self.name][0]
    active = evaluating.kept_result(self.name, request)
    if active is None and not read_only:
        active = is_drawn(self.percent)
        evaluating.set_flag(request, self.name, active, self.rollout)
        # Not drawn is no result, but it is kept.
        return active or None
    if not read_only:
        evaluating.set_flag(request, self.name, active, self.rollout)
    return active


def is_active_by_lists(self: Any, user: Any, result: Any) -> Any:
    """Returns the result of the parent if it is true, or else True or None by the lists."""
    if result:
        return result
    # Of a row that is not stored, the lists raise ValueError, for any user.
    users = self._get_user_ids()
    if hasattr(user, "pk") and user.pk in users:
        return True
    if hasattr(user, "groups") and (groups := self._get_group_ids()):
        pks = {*user.groups.all().values_list("pk", flat=True)}
        return True if groups & pks else None
    return None


#: The methods of `AbstractBaseFlag` by name; the functions above take its rows as `self`.
METHODS: dict[str, Any] = {
    "is_active": is_active,
    "is_active_for_user": is_active_for_user,
    "_is_active_for_language": is_active_for_language,
    "_is_active_for_percent": is_active_for_percent,
}

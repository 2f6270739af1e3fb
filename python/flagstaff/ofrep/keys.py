"""The key that a service sends, compared with those of the settings."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from flagstaff.conf import conf
from flagstaff.ofrep.errors import OfrepError
from flagstaff.ofrep.settings import OfrepSettings, hash_of


def is_service(request: HttpRequest) -> bool:
    """Whether a service sends the request. Raises OfrepError for a key that is not known.

    A request without a key is that of a browser. Another scheme of Authorization is for the
    project, such as the password of a staging site.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token if scheme.lower() == "bearer" else request.headers.get("X-API-Key")
    if key is None:
        return False
    given = hash_of(key.strip())
    # All of them: the time does not tell which one is equal.
    settings: OfrepSettings = conf.ofrep
    matches = [constant_time_compare(given, known) for known in settings.keys.values()]
    if not any(matches):
        raise OfrepError(401, "GENERAL", "the key is not known", {"WWW-Authenticate": "Bearer"})
    return True

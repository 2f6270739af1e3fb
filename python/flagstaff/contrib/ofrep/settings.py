"""The settings of OFREP: keys of services, what browsers may set, and a limit of requests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from flagstaff.conf import BUILT_IN, Setting, SettingError, request_function

_HASH = re.compile(r"[0-9a-f]{64}")
# The request has the user and the visitor.
_NOT_SETTABLE = {*BUILT_IN, "visitor"}


def hash_of(key: str) -> str:
    """Returns the SHA-256 of a key, as the setting has it."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _keys(value: Any) -> Mapping[str, str]:
    """Raises SettingError, which does not quote a key: one may be in place of its SHA-256."""
    if not isinstance(value, Mapping):
        hint = 'expected a dict such as {"billing": "5e884898…"}'
        raise SettingError(f'FLAGSTAFF["OFREP_KEYS"] is a {type(value).__name__}', hint)
    for name, digest in value.items():
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            problem = f'FLAGSTAFF["OFREP_KEYS"][{name!r}] is not a SHA-256 of 64 hexadecimal digits'
            hint = 'run "manage.py flags ofrep-key", and copy the SHA-256, not the key'
            raise SettingError(problem, hint)
    return value


def _are_settable(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(
        isinstance(name, str) and name not in _NOT_SETTABLE for name in names
    )


KEYS = Setting("The keys of services for OFREP", {}, "a dict", convert=_keys, name="OFREP_KEYS")
CLIENT_ATTRIBUTES: Setting[tuple[str, ...]] = Setting(
    "The attributes that browsers may set",
    (),
    f"a list of names of attributes, without {', '.join(sorted(_NOT_SETTABLE))}",
    _are_settable,
    tuple,
    name="OFREP_CLIENT_ATTRIBUTES",
)
LIMIT = request_function(
    "The seconds that the client of OFREP must wait",
    "shop.limits.seconds",
    "a number of seconds, or None",
    "OFREP_LIMIT",
)
SETTINGS = (KEYS, CLIENT_ATTRIBUTES, LIMIT)

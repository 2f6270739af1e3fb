"""The setting OFREP: keys of services, what browsers may set, and a limit of requests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flagstaff.conf.attribute_sources import BUILT_IN, is_path

_HASH = re.compile(r"[0-9a-f]{64}")
_EXPECTED = (
    'expected a dict such as {"KEYS": {"billing": "5e884898…"}, "CLIENT_ATTRIBUTES": ["theme"], '
    '"LIMIT": "shop.limits.seconds"}'
)


@dataclass(frozen=True)
class OfrepSettings:
    """What OFREP contains."""

    #: The SHA-256 of the key of each service, in hexadecimal digits, by a name.
    keys: Mapping[str, str] = field(default_factory=dict)
    #: The attributes that browsers may set.
    client_attributes: tuple[str, ...] = ()
    #: A function of the request, or its path: seconds to wait, or None.
    limit: str | Callable[[Any], object] | None = None


def hash_of(key: str) -> str:
    """Returns the SHA-256 of a key, as the setting has it."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def settings_of(value: Mapping[str, Any]) -> OfrepSettings:
    """Returns what a valid setting contains."""
    return OfrepSettings(
        value.get("KEYS", {}), tuple(value.get("CLIENT_ATTRIBUTES", ())), value.get("LIMIT")
    )


def problem_of(value: object) -> tuple[str, str] | None:
    """Returns what is wrong with the setting, and what is expected; None if it can be used.

    Does not show the keys: one may be there in place of its SHA-256.
    """
    if not isinstance(value, Mapping):
        return f" is a {type(value).__name__}", _EXPECTED
    for name in value:
        if name not in ("KEYS", "CLIENT_ATTRIBUTES", "LIMIT"):
            return f" has no entry {name!r}", _EXPECTED
    return (
        _problem_of_keys(value.get("KEYS", {}))
        or _problem_of_attributes(value.get("CLIENT_ATTRIBUTES", ()))
        or _problem_of_limit(value.get("LIMIT"))
    )


def _problem_of_keys(keys: object) -> tuple[str, str] | None:
    if not isinstance(keys, Mapping) or not all(isinstance(name, str) for name in keys):
        return '["KEYS"] is not a dict of hashes by name', _EXPECTED
    for name, digest in keys.items():
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            hint = 'run "manage.py flags ofrep-key", and copy the SHA-256, not the key'
            return f'["KEYS"][{name!r}] is not a SHA-256 of 64 hexadecimal digits', hint
    return None


def _problem_of_attributes(names: object) -> tuple[str, str] | None:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return f'["CLIENT_ATTRIBUTES"] is {names!r}', "expected a list of names of attributes"
    for name in names:
        if name in (*BUILT_IN, "visitor"):
            problem = f'["CLIENT_ATTRIBUTES"] names {name!r}, which no browser may set'
            return problem, "remove it; the request has the user and the visitor"
    return None


def _problem_of_limit(limit: object) -> tuple[str, str] | None:
    if limit is None or callable(limit) or is_path(limit):
        return None
    expected = 'expected a function (request), its path, such as "shop.limits.seconds", or None'
    return f'["LIMIT"] is {limit!r}', expected

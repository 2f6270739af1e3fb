"""The setting OFREP: keys of services, what browsers may set, and a limit of requests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flagstaff.conf import BUILT_IN, Setting, SettingError, is_path

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


def settings_of(value: Any) -> OfrepSettings:
    """Returns what OFREP contains. Raises SettingError, which does not quote a key.

    A key may be there in place of its SHA-256.
    """
    for problem, hint in _problems_of(value):
        raise SettingError(f'FLAGSTAFF["OFREP"]{problem}', hint)
    attributes = tuple(value.get("CLIENT_ATTRIBUTES", ()))
    return OfrepSettings(value.get("KEYS", {}), attributes, value.get("LIMIT"))


def _problems_of(value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield f" is a {type(value).__name__}", _EXPECTED
        return
    for name in value:
        if name not in ("KEYS", "CLIENT_ATTRIBUTES", "LIMIT"):
            yield f" has no entry {name!r}", _EXPECTED
    yield from _key_problems(value.get("KEYS", {}))
    names = value.get("CLIENT_ATTRIBUTES", ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        yield f'["CLIENT_ATTRIBUTES"] is {names!r}', "expected a list of names of attributes"
    for name in names:
        if name in (*BUILT_IN, "visitor"):
            problem = f'["CLIENT_ATTRIBUTES"] names {name!r}, which no browser may set'
            yield problem, "remove it; the request has the user and the visitor"
    limit = value.get("LIMIT")
    if limit is not None and not callable(limit) and not is_path(limit):
        expected = 'expected a function (request), its path, such as "shop.limits.seconds", or None'
        yield f'["LIMIT"] is {limit!r}', expected


def _key_problems(keys: object) -> Iterator[tuple[str, str]]:
    if not isinstance(keys, Mapping) or not all(isinstance(name, str) for name in keys):
        yield '["KEYS"] is not a dict of hashes by name', _EXPECTED
        return
    for name, digest in keys.items():
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            hint = 'run "manage.py flags ofrep-key", and copy the SHA-256, not the key'
            yield f'["KEYS"][{name!r}] is not a SHA-256 of 64 hexadecimal digits', hint


OFREP = Setting(
    "The end points for front ends and services", {}, "a dict", convert=settings_of, name="OFREP"
)
SETTINGS = (OFREP,)

"""The receivers of messages, as the setting WEBHOOKS names them. No secret of one is ever shown."""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal, TypeGuard
from urllib.parse import SplitResult, urlsplit

__all__ = ["Receiver", "fault_of", "is_address", "receivers_of"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FORMATS = ("json", "slack")
_KEYS = ("url", "secret", "format", "timeout", "allow_http")
_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64
_HIGHEST_TIMEOUT = 60
_TIMEOUT = 5.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Receiver:
    """Who is told of changes. The whole address may be a secret, so that only its host is shown."""

    name: str
    url: str = field(repr=False)
    #: The keys that sign, as bytes.
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    format: Literal["json", "slack"] = "json"
    #: Seconds that an answer may take.
    timeout: float = _TIMEOUT

    @property
    def host(self) -> str:
        """The host, with the port where it is not the usual one."""
        return self.split.netloc

    @property
    def split(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.url)

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.split.port or _PORTS[self.split.scheme]


def receivers_of(value: Mapping[str, Mapping[str, Any]]) -> tuple[Receiver, ...]:
    """The receivers that a value without fault names."""
    return tuple(
        Receiver(
            name,
            given["url"],
            tuple(_key(secret) for secret in _secrets(given)),
            given.get("format", "json"),
            float(given.get("timeout", _TIMEOUT)),
        )
        for name, given in value.items()
    )


def fault_of(value: object) -> tuple[str, str] | None:
    """The first thing that is wrong with WEBHOOKS, and what is expected. It quotes no secret."""
    if not isinstance(value, Mapping):
        return (
            f" is a {type(value).__name__}",
            'expected a dict such as {"ops": {"url": "https://…"}}',
        )
    for name, given in value.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            # An address in the place of a name may be a secret.
            shown = "by an address" if "://" in str(name) else repr(name)
            return f" names a receiver {shown}", 'expected letters, digits, "_" and "-"'
        fault = _fault(given)
        if fault:
            return f'["{name}"]{fault[0]}', fault[1]
    return None


def _fault(given: object) -> tuple[str, str] | None:
    if not isinstance(given, Mapping):
        return f" is a {type(given).__name__}", 'expected a dict such as {"url": "https://…"}'
    unknown = [name for name in given if name not in _KEYS]
    if unknown:
        return f" has no option {unknown[0]!r}", f"known are {', '.join(_KEYS)}"
    if "url" not in given:
        return ' has no "url"', "expected the address to post to"
    for name, (is_right, expected) in _OPTIONS.items():
        if name in given and not is_right(given[name]):
            return f'["{name}"] is not usable', f"expected {expected}"
    return _fault_of_scheme(urlsplit(given["url"]), allowed=given.get("allow_http", False))


def _fault_of_scheme(split: SplitResult, *, allowed: bool) -> tuple[str, str] | None:
    if split.scheme == "https" or allowed or _is_loopback(split.hostname or ""):
        return None
    return (
        '["url"] is not encrypted',
        'expected https://; "allow_http": True lets it be http:// in a network that you trust',
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_address(value: object) -> TypeGuard[str]:
    """Whether it is an address of the web, without user or password, that a header can hold."""
    # A line break would end the header that it is put into.
    if not isinstance(value, str) or not value.isascii() or re.search(r"[\s\x00-\x1f\x7f]", value):
        return False
    try:
        split = urlsplit(value)
        port_is_right = split.port != 0
    except ValueError:
        return False
    return (
        split.scheme in _PORTS
        and bool(split.hostname)
        and "@" not in split.netloc
        and port_is_right
    )


def _is_secret(value: object) -> bool:
    secrets = value if isinstance(value, list | tuple) else [value]
    return bool(secrets) and all(_is_one_secret(secret) for secret in secrets)


def _is_one_secret(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(_PREFIX):
        return False
    try:
        return _SHORTEST <= len(_key(value)) <= _LONGEST
    except ValueError:  # also where it is not ASCII
        return False


def _secrets(given: Mapping[str, Any]) -> list[str]:
    secret = given.get("secret", [])
    return [secret] if isinstance(secret, str) else list(secret)


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_PREFIX), validate=True)


def _is_timeout(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 < value <= _HIGHEST_TIMEOUT


_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "url": (
        is_address,
        "an ASCII address such as https://hooks.example/flags, without user or password",
    ),
    "secret": (
        _is_secret,
        f'"{_PREFIX}" and the base64 of {_SHORTEST} to {_LONGEST} random bytes, or a list of such',
    ),
    "format": (lambda value: value in _FORMATS, '"json" or "slack"'),
    "timeout": (_is_timeout, f"seconds above 0 and up to {_HIGHEST_TIMEOUT}"),
    "allow_http": (lambda value: isinstance(value, bool), "True or False"),
}

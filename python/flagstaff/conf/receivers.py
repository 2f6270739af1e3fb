"""The receivers of webhooks, as the setting WEBHOOKS defines them. Secrets are never shown."""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal, TypeGuard
from urllib.parse import SplitResult, urlsplit

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FORMATS = ("json", "slack", "sentry")
_OPTION_NAMES = ("url", "secret", "format", "timeout", "allow_http")
_PREFIX = "whsec_"
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 24, 64
# Sentry takes the text itself as the key. Its form accepts 32 characters.
_SENTRY_SECRET = re.compile(r"[!-~]{32,64}")
_MAX_TIMEOUT = 60
_DEFAULT_TIMEOUT = 5.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Receiver:
    """A receiver of webhooks. The URL may be a secret, so only its host may be shown."""

    name: str
    url: str = field(repr=False)
    #: The keys that sign messages, decoded.
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    format: Literal["json", "slack", "sentry"] = "json"
    #: The timeout of a request, in seconds.
    timeout: float = _DEFAULT_TIMEOUT

    @property
    def host(self) -> str:
        """The host, with the port if the URL has one."""
        # The port may be empty.
        return self.split.netloc.removesuffix(":")

    @property
    def split(self) -> SplitResult:
        """The parts of the URL."""
        return urlsplit(self.url)


def receivers_of(value: Mapping[str, Mapping[str, Any]]) -> tuple[Receiver, ...]:
    """Returns the receivers of a valid WEBHOOKS."""
    return tuple(
        Receiver(
            name,
            given["url"],
            _keys(given),
            given.get("format", "json"),
            float(given.get("timeout", _DEFAULT_TIMEOUT)),
        )
        for name, given in value.items()
    )


def problem_of(value: object) -> tuple[str, str] | None:
    """Returns the first problem of WEBHOOKS, and what is expected. Does not quote a secret."""
    if not isinstance(value, Mapping):
        return (
            f" is a {type(value).__name__}",
            'expected a dict such as {"ops": {"url": "https://…"}}',
        )
    for name, given in value.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            # A URL in the place of a name may be a secret.
            shown = "a URL" if "://" in str(name) else repr(name)
            expected = 'use 1 to 100 letters, digits, "_" and "-"'
            return f" has an invalid receiver name: {shown}", expected
        problem = _problem_of_receiver(given)
        if problem:
            return f'["{name}"]{problem[0]}', problem[1]
    return None


def _problem_of_receiver(given: object) -> tuple[str, str] | None:
    if not isinstance(given, Mapping):
        return f" is a {type(given).__name__}", 'expected a dict such as {"url": "https://…"}'
    unknown = [name for name in given if name not in _OPTION_NAMES]
    if unknown:
        return f" has no option {unknown[0]!r}", f"known options: {', '.join(_OPTION_NAMES)}"
    if "url" not in given:
        return ' has no "url"', "expected the URL to post to"
    is_sentry = given.get("format") == "sentry"
    if is_sentry and "secret" not in given:
        return ' has no "secret"', f"expected {_SENTRY_OPTIONS['secret'][1]}"
    for name, (is_valid, expected) in (_SENTRY_OPTIONS if is_sentry else _OPTIONS).items():
        if name in given and not is_valid(given[name]):
            return f'["{name}"] is invalid', f"expected {expected}"
    return _problem_of_scheme(urlsplit(given["url"]), allowed=given.get("allow_http", False))


def _problem_of_scheme(split: SplitResult, *, allowed: bool) -> tuple[str, str] | None:
    if split.scheme == "https" or allowed or is_loopback(split):
        return None
    return (
        '["url"] must use https',
        'write https://, or set "allow_http": True for http:// in a network that you trust',
    )


def port_of(split: SplitResult) -> int:
    """Returns the port to connect to."""
    return split.port or _PORTS[split.scheme]


def is_loopback(split: SplitResult) -> bool:
    """Whether requests to this URL stay on this machine, so that http:// is safe."""
    host = split.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_url(value: object) -> TypeGuard[str]:
    """Whether it is an http(s) URL without user or password that a header can hold."""
    # A line break would end the header that holds the URL.
    if not isinstance(value, str) or not value.isascii() or re.search(r"[\s\x00-\x1f\x7f]", value):
        return False
    try:
        split = urlsplit(value)
        is_port_valid = split.port != 0
    except ValueError:
        return False
    return (
        split.scheme in _PORTS
        and bool(split.hostname)
        and "@" not in split.netloc
        and is_port_valid
    )


def _is_secret(value: object) -> bool:
    secrets = value if isinstance(value, list | tuple) else [value]
    return bool(secrets) and all(_is_one_secret(secret) for secret in secrets)


def _is_one_secret(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(_PREFIX):
        return False
    try:
        return _MIN_KEY_BYTES <= len(_key(value)) <= _MAX_KEY_BYTES
    except ValueError:  # not base64, or not ASCII
        return False


def _is_sentry_secret(value: object) -> bool:
    return isinstance(value, str) and _SENTRY_SECRET.fullmatch(value) is not None


def _keys(given: Mapping[str, Any]) -> tuple[bytes, ...]:
    secret = given.get("secret", [])
    if given.get("format") == "sentry":
        return (secret.encode(),)
    secrets = [secret] if isinstance(secret, str) else secret
    return tuple(map(_key, secrets))


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_PREFIX), validate=True)


def _is_timeout(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 < value <= _MAX_TIMEOUT


_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "url": (
        is_url,
        "an ASCII URL such as https://hooks.example/flags, without user or password",
    ),
    "secret": (
        _is_secret,
        (
            f'"{_PREFIX}" followed by {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} random bytes in base64, '
            "or a list of such texts"
        ),
    ),
    "format": (lambda value: value in _FORMATS, '"json", "slack" or "sentry"'),
    "timeout": (_is_timeout, f"a number of seconds above 0 and up to {_MAX_TIMEOUT}"),
    "allow_http": (lambda value: isinstance(value, bool), "True or False"),
}
_SENTRY_OPTIONS = {
    **_OPTIONS,
    "secret": (
        _is_sentry_secret,
        "the signing secret that you have entered in Sentry, 32 to 64 characters of ASCII",
    ),
}

"""The receivers of webhooks, as the setting WEBHOOKS defines them. Secrets are never shown."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from flagstaff.conf import Setting, SettingError, is_number, is_url

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FORMATS = ("json", "slack", "sentry")
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


def receivers_of(value: Any) -> tuple[Receiver, ...]:
    """Returns the receivers of WEBHOOKS. Raises SettingError, which does not quote a secret."""
    if not isinstance(value, Mapping):
        expected = 'expected a dict such as {"ops": {"url": "https://…"}}'
        raise SettingError(f'FLAGSTAFF["WEBHOOKS"] is a {type(value).__name__}', expected)
    return tuple(_receiver(name, given) for name, given in value.items())


def _receiver(name: object, given: Any) -> Receiver:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        # A URL in the place of a name may be a secret.
        shown = "a URL" if "://" in str(name) else repr(name)
        problem = f'FLAGSTAFF["WEBHOOKS"] has an invalid receiver name: {shown}'
        raise SettingError(problem, 'use 1 to 100 letters, digits, "_" and "-"')
    for problem, hint in _problems_of(given):
        raise SettingError(f'FLAGSTAFF["WEBHOOKS"]["{name}"]{problem}', hint)
    timeout = float(given.get("timeout", _DEFAULT_TIMEOUT))
    return Receiver(name, given["url"], _keys(given), given.get("format", "json"), timeout)


def _problems_of(given: object) -> Iterator[tuple[str, str]]:
    if not isinstance(given, Mapping):
        yield f" is a {type(given).__name__}", 'expected a dict such as {"url": "https://…"}'
        return
    for name in given:
        if name not in _OPTIONS:
            yield f" has no option {name!r}", f"known options: {', '.join(_OPTIONS)}"
    if "url" not in given:
        yield ' has no "url"', "expected the URL to post to"
    is_sentry = given.get("format") == "sentry"
    if is_sentry and "secret" not in given:
        yield ' has no "secret"', f"expected {_SENTRY_OPTIONS['secret'][1]}"
    for name, (is_valid, expected) in (_SENTRY_OPTIONS if is_sentry else _OPTIONS).items():
        if name in given and not is_valid(given[name]):
            yield f'["{name}"] is invalid', f"expected {expected}"
    split = urlsplit(given["url"])
    if split.scheme != "https" and not given.get("allow_http") and not is_loopback(split):
        hint = 'write https://, or set "allow_http": True for http:// in a network that you trust'
        yield '["url"] must use https', hint


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
    "timeout": (
        lambda value: value != 0 and is_number(value, 0, _MAX_TIMEOUT),
        f"a number of seconds above 0 and up to {_MAX_TIMEOUT}",
    ),
    "allow_http": (lambda value: isinstance(value, bool), "True or False"),
}
_SENTRY_OPTIONS = {
    **_OPTIONS,
    "secret": (
        _is_sentry_secret,
        "the signing secret that you have entered in Sentry, 32 to 64 characters of ASCII",
    ),
}

WEBHOOKS = Setting(
    "The receivers of webhooks",
    {},
    "a dict of receivers by name",
    convert=receivers_of,
    name="WEBHOOKS",
)
SETTINGS = (WEBHOOKS,)

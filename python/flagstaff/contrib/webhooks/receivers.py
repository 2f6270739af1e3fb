"""The receivers of webhooks, as the setting WEBHOOKS defines them. Secrets are never shown."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
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
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """Whether requests stay on this machine."""
        return _is_loopback(urlsplit(self.url))


def _receivers(value: Any) -> tuple[Receiver, ...]:
    """Returns the receivers of WEBHOOKS. Raises SettingError, which does not quote a secret."""
    if not isinstance(value, Mapping):
        expected = 'expected a dict such as {"ops": {"url": "https://…"}}'
        raise SettingError(f'FLAGSTAFF["WEBHOOKS"] is a {type(value).__name__}', expected)
    return tuple(_receiver(name, declared) for name, declared in value.items())


def _receiver(name: object, declared: Any) -> Receiver:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        # A URL in the place of a name may be a secret.
        shown = "a URL" if "://" in str(name) else repr(name)
        problem = f'FLAGSTAFF["WEBHOOKS"] has an invalid receiver name: {shown}'
        raise SettingError(problem, 'use 1 to 100 letters, digits, "_" and "-"')
    setting = f'FLAGSTAFF["WEBHOOKS"]["{name}"]'
    if not isinstance(declared, Mapping):
        expected = 'expected a dict such as {"url": "https://…"}'
        raise SettingError(f"{setting} is a {type(declared).__name__}", expected)
    for option in declared:
        if option not in _OPTIONS:
            hint = f"known options: {', '.join(_OPTIONS)}"
            raise SettingError(f"{setting} has no option {option!r}", hint)
    is_sentry = declared.get("format") == "sentry"
    options = _OPTIONS | _SENTRY_OPTIONS if is_sentry else _OPTIONS
    required = {"url", *(_SENTRY_OPTIONS if is_sentry else ())}
    for option, (is_valid, expected) in options.items():
        if option in {*declared, *required} and not is_valid(declared.get(option)):
            raise SettingError(f'{setting}["{option}"] is invalid', f"expected {expected}")
    url = urlsplit(declared["url"])
    if url.scheme != "https" and not declared.get("allow_http") and not _is_loopback(url):
        hint = 'write https://, or set "allow_http": True for http:// in a network that you trust'
        raise SettingError(f'{setting}["url"] must use https', hint)
    secret = declared.get("secret", ())
    secrets = [secret] if isinstance(secret, str) else secret
    keys = tuple(secret.encode() if is_sentry else _key(secret) for secret in secrets)
    timeout = float(declared.get("timeout", _DEFAULT_TIMEOUT))
    return Receiver(name, declared["url"], keys, declared.get("format", "json"), timeout)


def _is_loopback(url: SplitResult) -> bool:
    host = url.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_PREFIX), validate=True)


def _is_secret(value: Any) -> bool:
    secrets = value if isinstance(value, list | tuple) else [value]
    try:
        return bool(secrets) and all(
            secret.startswith(_PREFIX) and _MIN_KEY_BYTES <= len(_key(secret)) <= _MAX_KEY_BYTES
            for secret in secrets
        )
    except (AttributeError, ValueError):  # no text, not base64, or not ASCII
        return False


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
# A receiver with the format "sentry" needs them.
_SENTRY_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "secret": (
        lambda value: isinstance(value, str) and _SENTRY_SECRET.fullmatch(value) is not None,
        "the signing secret that you have entered in Sentry, 32 to 64 characters of ASCII",
    ),
}

WEBHOOKS = Setting(
    "The receivers of webhooks",
    {},
    "a dict of receivers by name",
    convert=_receivers,
    name="WEBHOOKS",
)
SETTINGS = (WEBHOOKS,)

"""Which options of a connection the engine understands. Whoever asks for more is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["HARMLESS", "HONOURED", "REFUSED", "RESOLVED", "Refusal", "refusals"]

#: Done as libpq does them; where values are named, these alone.
HONOURED: Mapping[str, tuple[str, ...]] = {
    "application_name": (),
    "channel_binding": ("disable", "prefer", "require"),
    "connect_timeout": (),
    "dbname": (),
    "gssencmode": ("disable", "prefer"),
    "host": (),
    "hostaddr": (),
    "keepalives": (),
    "keepalives_idle": (),
    "keepalives_interval": (),
    "options": (),
    "password": (),
    "port": (),
    "ssl_max_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "sslcert": (),
    "sslcertmode": ("disable", "allow"),
    "sslkey": (),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslrootcert": (),
    "sslsni": ("0", "1"),
    "target_session_attrs": (
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ),
    "tcp_user_timeout": (),
    "user": (),
}

#: Left aside: none of these changes whom, or how safely, the engine connects to.
HARMLESS = frozenset(
    {
        # Of Django and of the Python driver.
        "assume_role",  # done by a start-up option
        "autocommit",
        "connection_factory",
        "context",
        "cursor_factory",
        "isolation_level",
        "pool",
        "prepare_threshold",
        "row_factory",
        "server_side_binding",
        # Of libpq.
        "client_encoding",
        "fallback_application_name",
        "keepalives_count",
        "load_balance_hosts",
        "sslcompression",
    }
)

#: Files that have settings in them. They are read before the engine is asked.
RESOLVED = frozenset({"passfile", "service", "servicefile"})

#: They ask for protection, or say where a secret is, in a way that the engine cannot follow.
REFUSED = frozenset(
    {
        "gssdelegation",
        "gsslib",
        "krbsrvname",
        "max_protocol_version",
        "min_protocol_version",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_issuer",
        "oauth_scope",
        "require_auth",
        "requirepeer",
        "scram_client_key",
        "scram_server_key",
        "sslcrl",
        "sslcrldir",
        "sslkeylogfile",
        "sslpassword",
    }
)


@dataclass(frozen=True)
class Refusal:
    """An option that keeps the engine from connecting."""

    #: As it may be shown: a value is part of it only where it is one of a few words.
    shown: str
    expected: tuple[str, ...] = ()


def refusals(settings: Mapping[str, str]) -> Iterator[Refusal]:
    """What of these settings keeps the engine from connecting; what is not known does too."""
    for name, value in sorted(settings.items()):
        if name in HARMLESS | RESOLVED or not value:
            continue
        words = HONOURED.get(name)
        if words is None:
            yield Refusal(name)
        elif words and value not in words:
            yield Refusal(f"{name}={value}", words)
    yield from _too_weak(settings)


def _too_weak(settings: Mapping[str, str]) -> Iterator[Refusal]:
    """An `sslmode` that is less than another option needs."""
    system = settings.get("sslrootcert") == "system"
    mode = settings.get("sslmode") or ("verify-full" if system else "prefer")
    enough: tuple[str, ...] = ()
    if system:
        enough = ("verify-full",)
    elif settings.get("sslnegotiation") == "direct":
        enough = ("require", "verify-ca", "verify-full")
    if enough and mode in HONOURED["sslmode"] and mode not in enough:
        yield Refusal(f"sslmode={mode}", enough)

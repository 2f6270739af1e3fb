"""The connection parameters that the engine supports. Any other one is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Handled as libpq handles them. Where values are listed, only these are supported.
SUPPORTED: Mapping[str, tuple[str, ...]] = {
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

#: Ignored: none of them changes which server the engine connects to, or how securely.
IGNORED = frozenset(
    {
        # Parameters of Django and of the Python driver.
        "assume_role",  # passed on as a start-up option
        "autocommit",
        "connection_factory",
        "context",
        "cursor_factory",
        "isolation_level",
        "pool",
        "prepare_threshold",
        "row_factory",
        "server_side_binding",
        # Parameters of libpq.
        "client_encoding",
        "fallback_application_name",
        "keepalives_count",
        "load_balance_hosts",
        "sslcompression",
    }
)

#: Files that contain parameters. They are read before the engine starts.
FILE_PARAMETERS = frozenset({"passfile", "service", "servicefile"})

#: They require a protection, or a place for secrets, that the engine does not support.
UNSUPPORTED = frozenset(
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
class UnsupportedParameter:
    """A parameter with which the engine does not connect."""

    #: Safe to show: includes the value only if it is one of a few words.
    shown: str
    expected: tuple[str, ...] = ()


def unsupported_parameters(parameters: Mapping[str, str]) -> Iterator[UnsupportedParameter]:
    """Yields the parameters with which the engine does not connect, unknown ones included."""
    for name, value in sorted(parameters.items()):
        if name in IGNORED | FILE_PARAMETERS or not value:
            continue
        words = SUPPORTED.get(name)
        if words is None:
            yield UnsupportedParameter(name)
        elif words and value not in words:
            yield UnsupportedParameter(f"{name}={value}", words)
    yield from _too_weak(parameters)


def _too_weak(parameters: Mapping[str, str]) -> Iterator[UnsupportedParameter]:
    """Yields an `sslmode` that is weaker than another parameter requires."""
    system = parameters.get("sslrootcert") == "system"
    mode = parameters.get("sslmode") or ("verify-full" if system else "prefer")
    enough: tuple[str, ...] = ()
    if system:
        enough = ("verify-full",)
    elif parameters.get("sslnegotiation") == "direct":
        enough = ("require", "verify-ca", "verify-full")
    if enough and mode in SUPPORTED["sslmode"] and mode not in enough:
        yield UnsupportedParameter(f"sslmode={mode}", enough)

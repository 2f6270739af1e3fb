"""A key with which a service evaluates over HTTP: ofrep-key."""

from __future__ import annotations

import secrets

from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, verb
from flagstaff.contrib.ofrep.settings import hash_of
from flagstaff.extensions import Column

_BYTES = 32
# Scanners find keys in code by their beginning.
_PREFIX = "ofrep_"


@verb("ofrep-key", "ofrep-key --json", topic=Topic.UPKEEP)
def ofrep_key(_options: Options, out: Output) -> None:
    """Print a new key for a service that evaluates over HTTP, and its SHA-256.

    The key contains 32 random bytes, and is not stored.
    """
    key = _PREFIX + secrets.token_urlsafe(_BYTES)
    out.record((Column("key"), Column("sha256")), {"key": key, "sha256": hash_of(key)})
    out.message(
        "the key is not stored, so this is the only time that it is shown: give it to the service, "
        'and add the SHA-256 to FLAGSTAFF["OFREP_KEYS"]'
    )


VERBS = (ofrep_key,)

"""A key with which a service evaluates over HTTP: ofrep-key."""

from __future__ import annotations

import secrets

from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.contrib.ofrep.settings import hash_of
from flagstaff.extensions import Column

_BYTES = 32
# Scanners find keys in code by their beginning.
_PREFIX = "ofrep_"


def _run(options: Options, out: Output) -> None:
    key = _PREFIX + secrets.token_urlsafe(_BYTES)
    out.record((Column("key"), Column("sha256")), {"key": key, "sha256": hash_of(key)})
    out.message(
        "the key is not stored, so this is the only time that it is shown: give it to the service, "
        'and add the SHA-256 to FLAGSTAFF["OFREP_KEYS"]'
    )


VERBS = (
    Verb(
        name="ofrep-key",
        help="print a new key for a service that evaluates over HTTP, and its SHA-256",
        examples=("ofrep-key", "ofrep-key --json"),
        run=_run,
        topic=Topic.UPKEEP,
    ),
)

"""`manage.py flags webhooks`: what to do with failed deliveries."""

from __future__ import annotations

from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, verb_group
from flagstaff.contrib.webhooks.queue import discard_failed, retry_failed


def _retry(_options: Options, out: Output) -> None:
    out.message(f"deliveries queued again: {retry_failed():,}")


def _discard(_options: Options, out: Output) -> None:
    out.message(f"deliveries discarded: {discard_failed():,}")


VERBS = (
    verb_group(
        "webhooks",
        "send the failed deliveries of webhooks again, or delete them",
        Verb("retry", "send failed deliveries again in the next run", ("webhooks retry",), _retry),
        Verb("discard", "delete failed deliveries", ("webhooks discard",), _discard),
        topic=Topic.UPKEEP,
    ),
)

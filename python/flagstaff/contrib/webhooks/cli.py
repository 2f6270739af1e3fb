"""`manage.py flags webhooks`: what to do with failed deliveries."""

from __future__ import annotations

from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, verb, verb_group
from flagstaff.contrib.webhooks.queue import discard_failed, retry_failed


@verb("webhooks retry", "webhooks retry --no-color")
def retry(_options: Options, out: Output) -> None:
    """Send failed deliveries again in the next run."""
    out.message(f"deliveries queued again: {retry_failed():,}")


@verb("webhooks discard", "webhooks discard --no-color")
def discard(_options: Options, out: Output) -> None:
    """Delete failed deliveries."""
    out.message(f"deliveries discarded: {discard_failed():,}")


VERBS = (
    verb_group(
        "webhooks",
        "send the failed deliveries of webhooks again, or delete them",
        retry,
        discard,
        topic=Topic.UPKEEP,
    ),
)

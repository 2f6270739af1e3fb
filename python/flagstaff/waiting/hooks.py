"""What retention and the deletion of a user do to waiting actions, and what apps hear of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from flagstaff._tables.database import db
from flagstaff._text import say
from flagstaff.conf import conf
from flagstaff.extensions import WAITING_EVENTS, Retention
from flagstaff.models import WaitingAction
from flagstaff.waiting.standing import USERS

logger = logging.getLogger("flagstaff")

# The rows that one transaction deletes.
_BATCH = 1_000


def announce(waiting: WaitingAction, event: str) -> None:
    """Tells apps what happened to an action. In its transaction, which no app can break."""
    try:
        with db.atomic():
            for notify in WAITING_EVENTS:
                notify(waiting, event)
    except Exception:
        logger.exception("flagstaff: “%s” of a waiting action was not announced", event)


def _rows() -> QuerySet[WaitingAction]:
    # In the order in which people lock the two actions of a period.
    return WaitingAction.objects.using(db.alias).order_by("pk")


def retention() -> Retention:
    """Returns how long actions that have ended are kept: as long as the history."""
    return Retention("waiting actions", conf.history_days, _prune, by_setting=False)


def _prune(before: datetime) -> Iterator[int]:
    while pks := [*_rows().filter(ended_at__lt=before).values_list("pk", flat=True)[:_BATCH]]:
        yield _rows().filter(pk__in=pks).delete()[0]


def forget_user(pk: str) -> None:
    """Removes a deleted user: who asked and who decided, and from the users of the arguments.

    What waits because of the user does not run.
    """
    of_user = Q(asked_by=pk) | Q(approved_by=pk)
    text = say("the user who asked for it, or approved it, was deleted")
    for waiting in _rows().filter(of_user, state__in=WaitingAction.OPEN).select_for_update():
        waiting.state, waiting.result, waiting.ended_at = WaitingAction.State.FAILED, text, Now()
        waiting.save(using=db.alias, update_fields=["state", "result", "ended_at"])
        announce(waiting, "failed")
    for name in ("asked_by", "approved_by", "ended_by"):
        _rows().filter(**{name: pk}).update(**{name: ""})
    for waiting in _rows().filter(arguments__has_key=USERS).select_for_update():
        users = waiting.arguments[USERS]
        remaining = [user for user in users if str(user) != pk]
        if remaining != users:
            waiting.arguments[USERS] = remaining
            waiting.save(using=db.alias, update_fields=["arguments"])

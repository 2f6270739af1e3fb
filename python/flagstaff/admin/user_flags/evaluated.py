"""Evaluates all flags for one user as they are stored, and says in a few words why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _

from flagstaff import _core
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explanation_of
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.steps import unit_of
from flagstaff._tables.bucket_units import USER

_ALL_USERS = 100


def evaluated_flags(
    keys: Iterable[str], user: Any, context: dict[str, object]
) -> dict[str, dict[str, Any]] | None:
    """Returns what the extension explains of each flag, by key. None if the flags cannot be read.

    Reads all flags in a few queries: the snapshot of this process may be older. Counts no usage.
    """
    with read_own_writes():
        snapshot = _core.snapshot()
        if not snapshot.ready:
            return None
        return {key: snapshot.explain(key, user, context=context) for key in keys}


def short_reason(key: str, found: dict[str, Any]) -> str:
    """Returns why the flag is on or off in a few words."""
    explanation = explanation_of(key, found)
    if explanation.override is not None:
        is_forced = explanation.override == VARIABLE
        return _("forced off in this process") if is_forced else _("overridden by a test")
    if explanation.rule is not None:
        return _rule(explanation)
    if explanation.error_code == "PARSE_ERROR":
        return _("its rules cannot be read, so calls return their default")
    texts = {
        "DISABLED": _("disabled"),
        "TARGETING_MATCH": _("allowed user"),
        "STATIC": _rollout(explanation, _ALL_USERS),
    }
    if (text := texts.get(explanation.reason)) is not None:
        return text
    if explanation.rollout_percent is None:
        return _("its row cannot be read, so calls return their default")
    return _rollout(explanation, explanation.rollout_percent)


def _rule(explanation: Explanation) -> str:
    names = {"number": explanation.rule, "name": explanation.rule_name}
    text = _("rule %(number)s “%(name)s”") if explanation.rule_name else _("rule %(number)s")
    [percent] = [rule.rollout_percent for rule in explanation.rules if rule.decides]
    if percent >= _ALL_USERS:
        return text % names
    return f"{text % names}, {_rollout(explanation, percent)}"


def _rollout(explanation: Explanation, percent: int) -> str:
    """Returns the rollout that decided, with the bucket if it depends on one."""
    unit, bucket = unit_of(explanation), explanation.bucket
    texts = {"percent": percent, "bucket": bucket, "unit": unit}
    if not 0 < percent < _ALL_USERS:
        return _("rollout of %(percent)s %%") % texts
    if unit == USER:
        if bucket is None:
            return _("rollout of %(percent)s %%, but there is no user") % texts
        return _("rollout of %(percent)s %%, bucket %(bucket)s") % texts
    if bucket is None:
        return _("rollout of %(percent)s %%, but %(unit)s is missing") % texts
    return _("rollout of %(percent)s %%, bucket %(bucket)s by %(unit)s") % texts

"""Sentry: events contain the flags that the request or task has evaluated before them."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import sentry_sdk
from sentry_sdk.feature_flags import FlagBuffer, add_feature_flag
from sentry_sdk.integrations import Integration

from flagstaff import listeners

__all__ = ["FlagstaffIntegration"]

# The results that each scope has. A look-up here costs less than adding a flag again.
_added: WeakKeyDictionary[FlagBuffer, dict[str, bool]] = WeakKeyDictionary()


class FlagstaffIntegration(Integration):
    """Adds the results of flags to the events of the same request or task.

        sentry_sdk.init(dsn=…, integrations=[FlagstaffIntegration()])

    Sentry keeps the 100 newest flags. Values and variants are not added.
    """

    identifier = "flagstaff"

    @staticmethod
    def setup_once() -> None:
        """Adds the listener. Sentry calls this once per process, also if `init` is called twice."""
        listeners.add(_add_flag)


def _add_flag(evaluation: listeners.Evaluation) -> None:
    """Adds the result to the scope of the request, unless the scope has it."""
    if evaluation.kind != "flag":
        return
    key, result = evaluation.key, evaluation.value
    flags = sentry_sdk.get_isolation_scope().flags
    added = _added.get(flags)
    if added is None:
        added = _added.setdefault(flags, {})
    if added.get(key) is result or not _is_enabled():
        return
    add_feature_flag(key, result)
    # Sentry has dropped the oldest flags, so each is added again at its next evaluation.
    if len(added) >= flags.capacity:
        added.clear()
    added[key] = result


def _is_enabled() -> bool:
    """Whether the client of this scope has the integration."""
    return sentry_sdk.get_client().get_integration(FlagstaffIntegration) is not None

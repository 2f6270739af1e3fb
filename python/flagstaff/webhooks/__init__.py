"""Telling others: what is in the history goes to those whom WEBHOOKS names, at each tick."""

from __future__ import annotations

from flagstaff.webhooks.deliver import Told, forget_dead, retry_dead, tick

__all__ = ["Told", "forget_dead", "retry_dead", "tick"]

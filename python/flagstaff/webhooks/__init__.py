"""Telling others: what is in the history goes to those whom WEBHOOKS names, at each tick."""

from __future__ import annotations

from flagstaff.webhooks.deliver import DeliveryReport, deliver, discard_failed, retry_failed

__all__ = ["DeliveryReport", "deliver", "discard_failed", "retry_failed"]

"""Webhooks: send the changes in the history to the receivers that WEBHOOKS names."""

from __future__ import annotations

from flagstaff.contrib.webhooks.deliver import DeliveryReport, deliver
from flagstaff.contrib.webhooks.queue import discard_failed, retry_failed

__all__ = ["DeliveryReport", "deliver", "discard_failed", "retry_failed"]

"""Webhooks: send the changes in the history to the receivers that WEBHOOKS names.

An app of its own: add "flagstaff.contrib.webhooks" to INSTALLED_APPS, and run
`manage.py flags run-jobs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff.contrib.webhooks.delivering import DeliveryReport, deliver
    from flagstaff.contrib.webhooks.queue import discard_failed, retry_failed

__all__ = ["DeliveryReport", "deliver", "discard_failed", "retry_failed"]

_PACKAGE = "flagstaff.contrib.webhooks"
__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("DeliveryReport", "deliver"), f"{_PACKAGE}.delivering"),
        **dict.fromkeys(("discard_failed", "retry_failed"), f"{_PACKAGE}.queue"),
    },
)

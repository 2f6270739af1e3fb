"""A module of metrics that cannot be imported."""

from __future__ import annotations

orders = 1 // 0

"""A module of metrics that cannot be imported."""

orders = 1 // 0

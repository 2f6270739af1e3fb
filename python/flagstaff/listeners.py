"""Listeners: functions that are called after each evaluation of one key."""

from flagstaff._engine.listeners import Evaluation, Listener, add

__all__ = ["Evaluation", "Listener", "add"]

from __future__ import annotations

from typing import Any

from django.test.utils import TestContextDecorator

from flagstaff import changes
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.contrib.waffle.instances import DECIDING
from flagstaff.contrib.waffle.settings import WaffleKind, key_of, waffle_model

__all__ = ["override_flag", "override_sample", "override_switch"]

_ALL = 100


class _Override(TestContextDecorator):
    """Changes a row, and so our flag, while a test or a block runs.

    A row that does not exist is created, and deleted at the end.
    """

    kind: WaffleKind

    def __init__(self, name: str, active: Any) -> None:
        super().__init__()
        self.name, self.active = name, active

    def enable(self) -> None:
        """Changes the row."""
        self.key, self.rows = key_of(self.kind, self.name), waffle_model(self.kind).objects
        flags = all_rows(conf.flag_model).filter(key=self.key)
        self.flag = flags.values("enabled", "rollout_percent", "rules").first()
        defaults = {"percent": 0} if self.kind == "sample" else {}
        self.obj, self.created = self.rows.get_or_create(name=self.name, defaults=defaults)
        self.old_value = getattr(self.obj, DECIDING[self.kind])
        self.update(self.active)

    def disable(self) -> None:
        """Restores the row and our flag."""
        if not self.created:
            self.update(self.old_value)
        elif self.flag is None:
            self.rows.get(pk=self.obj.pk).delete()
        else:
            # Without signals, so the flag stays.
            rows = self.rows.filter(pk=self.obj.pk)
            rows._raw_delete(rows.db)  # noqa: SLF001
        if self.flag is not None:
            # The row alone does not turn it on again: Unknown leaves a flag off.
            changes.flags.update(self.key, self.flag)
        self.obj.flush()

    def update(self, value: Any) -> None:
        """Saves the row with a value of the column that turns it on or off."""
        row = self.rows.get(pk=self.obj.pk)
        setattr(row, DECIDING[self.kind], value)
        row.save()
        row.flush()


class override_switch(_Override):  # noqa: N801 (used like a function)
    """Turns a switch on or off while a test or a block runs."""

    kind = "switch"


class override_flag(_Override):  # noqa: N801
    """Turns a flag on or off for everyone while a test or a block runs; None for neither."""

    kind = "flag"


class override_sample(_Override):  # noqa: N801
    """Turns a sample on or off while a test or a block runs, or sets its percentage."""

    kind = "sample"

    def update(self, value: Any) -> None:
        """Saves the row with a percentage."""
        super().update(str(float(value * _ALL if isinstance(value, bool) else value)))

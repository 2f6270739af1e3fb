from __future__ import annotations

from typing import Any

from django.test.utils import TestContextDecorator

from flagstaff import changes
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.rows import waffle_model
from flagstaff.contrib.waffle.settings import WaffleKind

__all__ = ["override_flag", "override_sample", "override_switch"]

_ALL = 100


class _Override(TestContextDecorator):
    """Changes a row, and so our flag, while a test or a block runs.

    A row that does not exist is created, and deleted at the end.
    """

    kind: WaffleKind
    #: The column that turns a row on or off, and those of a row that is created.
    column: str
    defaults: dict[str, Any] = {}

    def __init__(self, name: str, active: Any) -> None:
        super().__init__()
        self.name, self.active = name, active

    def model(self) -> Any:
        """Returns the model of waffle, or that of the project in its place."""
        return waffle_model(self.kind)

    def enable(self) -> None:
        """Changes the row."""
        model = self.model()
        flags = all_rows(conf.flag_model).filter(key=key_of(self.kind, self.name))
        self.flag = flags.values("enabled", "rollout_percent", "rules").first()
        self.obj, self.created = model.objects.get_or_create(name=self.name, defaults=self.defaults)
        if self.created and self.flag:
            # A flag that was not created in waffle: the new row shows it.
            self.obj = model.objects.get(pk=self.obj.pk)
        self.old_value = getattr(self.obj, self.column)
        self.update(self.value_of(self.active))

    def disable(self) -> None:
        """Restores the row and our flag."""
        if self.flag or not self.created:
            self.update(self.old_value)
        if self.flag:
            # The row alone does not turn it on again: Unknown leaves a flag off.
            changes.update(key_of(self.kind, self.name), self.flag)
        if self.created:
            if self.flag is None:
                self.obj.delete()
            else:
                rows = self.model()._base_manager.filter(pk=self.obj.pk)
                rows._raw_delete(rows.db)  # noqa: SLF001 (without signals, so the flag stays)
            self.obj.flush()

    def update(self, value: Any) -> None:
        """Saves the row with a value."""
        row = self.model().objects.get(pk=self.obj.pk)
        setattr(row, self.column, value)
        row.save()
        row.flush()

    def value_of(self, active: Any) -> Any:
        """Returns the value of the column for what a test wants."""
        return active


class override_switch(_Override):  # noqa: N801 (used like a function)
    """Turns a switch on or off while a test or a block runs."""

    kind = "switch"
    column = "active"


class override_flag(_Override):  # noqa: N801
    """Turns a flag on or off for everyone while a test or a block runs; None for neither."""

    kind = "flag"
    column = "everyone"


class override_sample(_Override):  # noqa: N801
    """Turns a sample on or off while a test or a block runs, or sets its percentage."""

    kind = "sample"
    column = "percent"
    defaults = {"percent": "0.0"}

    def value_of(self, active: Any) -> Any:
        """Returns the percentage."""
        return str(float(active * _ALL if isinstance(active, bool) else active))

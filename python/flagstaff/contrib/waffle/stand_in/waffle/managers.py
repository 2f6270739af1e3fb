from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models, transaction

from flagstaff.contrib.waffle import instances

if TYPE_CHECKING:
    _QuerySet = models.QuerySet[Any]
    _Manager = models.Manager[Any]
else:
    _QuerySet = models.QuerySet
    _Manager = models.Manager


class _Rows(_QuerySet):
    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Creates rows and their flags: Django sends no signals."""
        with transaction.atomic(using=self.db):
            created = super().bulk_create(objs, *args, **kwargs)
            for row in created:
                instances.write_saved(row, created=True)
        return created


class BaseManager(_Manager):
    def get_queryset(self) -> models.QuerySet[Any]:
        return _Rows(self.model, using=self._db)

    def get_by_natural_key(self, name: str) -> Any:
        return self.get(name=name)


class FlagManager(BaseManager):
    pass


class SwitchManager(BaseManager):
    pass


class SampleManager(BaseManager):
    pass

"""The models of waffle, with its label, tables and texts, which a project's migrations repeat.

A row shows the present state of our flag, and a save writes what it has changed to our flag. Rows
of a project's model that overrides a method of an evaluation keep their own columns: its code
decides, with waffle's results by `super()`, unless our flag is off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models, router, transaction
from django.http import HttpRequest
from django.utils import timezone

from flagstaff.contrib.waffle import contract, evaluating, instances, rows
from flagstaff.contrib.waffle.rows import has_own_code
from flagstaff.contrib.waffle.settings import WaffleKind
from waffle import managers
from waffle.utils import get_cache, get_setting, keyfmt

logger = logging.getLogger("waffle")

CACHE_EMPTY = "-"
set_flag = evaluating.set_flag
_ALL = 100


class BaseModel(models.Model):
    SINGLE_CACHE_KEY = ""
    ALL_CACHE_KEY = ""
    KIND: ClassVar[WaffleKind]
    #: Each of the three has it.
    name: Any

    class Meta:
        abstract = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rows.guard(cls)

    def __str__(self) -> str:
        return str(self.name)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves the row, and writes what has changed to our flag, in one transaction."""
        self.modified = timezone.now()
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            super().save(*args, **kwargs)
            transaction.on_commit(self.flush, using=using)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        transaction.on_commit(self.flush)
        return deleted

    def natural_key(self) -> tuple[str]:
        return (self.name,)

    @classmethod
    def _cache_key(cls, name: str) -> str:
        return keyfmt(get_setting(cls.SINGLE_CACHE_KEY), name)

    @classmethod
    def get(cls, name: str) -> Any:
        """Returns the row of a name, or a new one."""
        model: Any = cls
        row = _cached(cls._cache_key(name), lambda: _stored(cls, name)) or model(name=name)
        instances.show(row)
        return row

    @classmethod
    def get_from_db(cls, name: str) -> Any:
        """Returns the row of a name. Raises DoesNotExist."""
        return cls._rows().get(name=name)

    @classmethod
    def get_all(cls) -> list[Any]:
        rows = _cached(get_setting(cls.ALL_CACHE_KEY), cls.get_all_from_db) or []
        for row in rows:
            instances.show(row)
        return rows

    @classmethod
    def get_all_from_db(cls) -> list[Any]:
        return [*cls._rows()]

    @classmethod
    def _rows(cls) -> models.QuerySet[Any]:
        model: Any = cls
        rows: models.Manager[Any] = model.objects
        is_from_writer = get_setting("READ_FROM_WRITE_DB")
        return rows.using(router.db_for_write(cls)) if is_from_writer else rows.all()

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Any:
        """Returns a row of the table, whose columns show our flag."""
        row = super().from_db(*args, **kwargs)
        instances.show(row)
        return row

    def refresh_from_db(
        self, using: Any = None, fields: Any = None, from_queryset: Any = None
    ) -> None:
        """Reads columns again, those that show our flag from it."""
        names = None if fields is None else [*fields]
        super().refresh_from_db(using, names, from_queryset)
        instances.remember(self, names)

    def flush(self) -> None:
        get_cache().delete_many(self.get_flush_keys())

    def get_flush_keys(self, flush_keys: list[str] | None = None) -> list[str]:
        """Returns the keys of the cache that a change of the row makes invalid."""
        keys = [self._cache_key(self.name), get_setting(self.ALL_CACHE_KEY)]
        return [*(flush_keys or []), *keys]

    def _missing(self, plural: str, **defaults: Any) -> Any:
        """Returns the default of a name without a flag, which waffle's settings may log or create.

        `defaults` are the columns of a row that is created.
        """
        if level := get_setting(f"LOG_MISSING_{plural}"):
            logger.log(level, f"{self.KIND.capitalize()} %s not found", self.name)  # noqa: G004
        if get_setting(f"CREATE_MISSING_{plural}"):
            rows: Any = type(self)._default_manager
            row, _ = rows.get_or_create(name=self.name, defaults=defaults)
            # Otherwise a cached CACHE_EMPTY would hide a row that another process has created.
            get_cache().set(self._cache_key(self.name), row)
        return get_setting(f"{self.KIND.upper()}_DEFAULT")


def _stored(model: type[BaseModel], name: str) -> Any:
    with suppress(model.DoesNotExist):
        return model.get_from_db(name)
    return None


def _cached(key: str, load: Callable[[], Any]) -> Any:
    """Returns what `load` returns, from the cache if it is there; None if it is empty.

    The entries are those of waffle, for workers that still run waffle and for code of a project.
    """
    cache = get_cache()
    cached = cache.get(key)
    if cached is None:
        cached = load() or CACHE_EMPTY
        cache.add(key, cached)
    return None if cached == CACHE_EMPTY else cached


# The texts are those of waffle: migrations of a project's own flag model contain them.
def _columns(kind: str) -> tuple[Any, Any, Any, Any]:
    """Returns the columns that each of the three has: name, note, created, modified."""
    name = models.CharField(
        max_length=100,
        unique=True,
        help_text="The human/computer readable name.",
        verbose_name="Name",
    )
    note = models.TextField(
        blank=True, help_text=f"Note where this {kind} is used.", verbose_name="Note"
    )
    created = models.DateTimeField(
        default=timezone.now,
        db_index=True,
        help_text=f"Date when this {kind} was created.",
        verbose_name="Created",
    )
    modified = models.DateTimeField(
        default=timezone.now,
        help_text=f"Date when this {kind} was last modified.",
        verbose_name="Modified",
    )
    return name, note, created, modified


def _switch(name: str, text: str, *, default: bool = False) -> models.BooleanField[bool, bool]:
    return models.BooleanField(default=default, help_text=text, verbose_name=name)


class AbstractBaseFlag(BaseModel):
    """A feature flag, active or not for each request."""

    name, note, created, modified = _columns("Flag")
    everyone = models.BooleanField(
        blank=True,
        null=True,
        help_text="Flip this flag on (Yes) or off (No) for everyone, overriding all "
        "other settings. Leave as Unknown to use normally.",
        verbose_name="Everyone",
    )
    percent = models.DecimalField(
        max_digits=3,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="A number between 0.0 and 99.9 to indicate a percentage of "
        "users for whom this flag will be active.",
        verbose_name="Percent",
    )
    testing = _switch("Testing", "Allow this flag to be set for a session for user testing")
    superusers = _switch("Superusers", "Flag always active for superusers?", default=True)
    staff = _switch("Staff", "Flag always active for staff?")
    authenticated = _switch("Authenticated", "Flag always active for authenticated users?")
    languages = models.TextField(
        blank=True,
        default="",
        help_text="Activate this flag for users with one of these languages (comma-separated list)",
        verbose_name="Languages",
    )
    rollout = _switch("Rollout", "Activate roll-out mode?")

    objects = managers.FlagManager()

    SINGLE_CACHE_KEY = "FLAG_CACHE_KEY"
    ALL_CACHE_KEY = "ALL_FLAGS_CACHE_KEY"
    KIND = "flag"

    class Meta:
        abstract = True
        verbose_name = "Flag"
        verbose_name_plural = "Flags"

    def is_active(
        self,
        request: Any,
        read_only: bool = False,  # noqa: FBT001, FBT002 (waffle's signature)
    ) -> Any:
        """Returns whether the flag is on for a request."""
        if not has_own_code(type(self)):
            result = evaluating.flag_result(self.name, request, read_only=read_only)
        else:
            result = contract.is_active(self, request, read_only) if self.pk else None
        if result is not None:
            return result
        return self._missing("FLAGS", everyone=get_setting("FLAG_DEFAULT"))

    def is_active_for_user(self, user: Any) -> Any:
        """Returns whether the flag is on for a user, without its percentage; None if unknown."""
        if not has_own_code(type(self)):
            return evaluating.result_for_user(self.name, user)
        return contract.is_active_for_user(self, user)

    def _is_active_for_user(self, request: HttpRequest | None) -> Any:
        user = getattr(request, "user", None)
        return self.is_active_for_user(user) if user else False

    _is_active_for_language = contract.is_active_for_language
    _is_active_for_percent = contract.is_active_for_percent


class AbstractUserFlag(AbstractBaseFlag):
    groups = models.ManyToManyField(
        Group,
        blank=True,
        help_text="Activate this flag for these user groups.",
        verbose_name="Groups",
    )
    users = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        blank=True,
        help_text="Activate this flag for these users.",
        verbose_name="Users",
    )

    class Meta(AbstractBaseFlag.Meta):
        abstract = True

    def get_flush_keys(self, flush_keys: list[str] | None = None) -> list[str]:
        names = ("FLAG_USERS_CACHE_KEY", "FLAG_GROUPS_CACHE_KEY")
        keys = [keyfmt(get_setting(name), self.name) for name in names]
        return [*super().get_flush_keys(flush_keys), *keys]

    def _get_user_ids(self) -> set[Any]:
        return self._cached_pks("FLAG_USERS_CACHE_KEY", self.users)

    def _get_group_ids(self) -> set[Any]:
        return self._cached_pks("FLAG_GROUPS_CACHE_KEY", self.groups)

    def _cached_pks(self, key: str, related: Any) -> set[Any]:
        pks = related.values_list("pk", flat=True)
        return _cached(keyfmt(get_setting(key), self.name), lambda: {*pks}) or set()

    def is_active_for_user(self, user: Any) -> Any:
        """Returns True if the flag is on for a user, without its percentage; None otherwise."""
        result = super().is_active_for_user(user)
        is_own = has_own_code(type(self))
        return contract.is_active_by_lists(self, user, result) if is_own else result or None


class Flag(AbstractUserFlag):
    """A feature flag, active or not for each request."""

    class Meta(AbstractUserFlag.Meta):
        abstract = False
        swappable = "WAFFLE_FLAG_MODEL"


class AbstractBaseSwitch(BaseModel):
    """A switch, active or not for everyone."""

    name, note, created, modified = _columns("Switch")
    active = _switch("Active", "Is this switch active?")

    objects = managers.SwitchManager()

    SINGLE_CACHE_KEY = "SWITCH_CACHE_KEY"
    ALL_CACHE_KEY = "ALL_SWITCHES_CACHE_KEY"
    KIND = "switch"

    class Meta:
        abstract = True
        verbose_name = "Switch"
        verbose_name_plural = "Switches"

    def is_active(self) -> Any:
        if has_own_code(type(self)):
            result = self.active if self.pk else None
        else:
            result = evaluating.switch_result(self.name)
        if result is None:
            return self._missing("SWITCHES", active=get_setting("SWITCH_DEFAULT"))
        return result


class Switch(AbstractBaseSwitch):
    """A switch, active or not for everyone."""

    class Meta(AbstractBaseSwitch.Meta):
        abstract = False
        swappable = "WAFFLE_SWITCH_MODEL"


class AbstractBaseSample(BaseModel):
    """A sample, active for a share of the evaluations."""

    name, note, created, modified = _columns("Sample")
    percent = models.DecimalField(
        max_digits=4,
        decimal_places=1,
        help_text="A number between 0.0 and 100.0 to indicate a percentage of the time "
        "this sample will be active.",
        verbose_name="Percent",
    )

    objects = managers.SampleManager()

    SINGLE_CACHE_KEY = "SAMPLE_CACHE_KEY"
    ALL_CACHE_KEY = "ALL_SAMPLES_CACHE_KEY"
    KIND = "sample"

    class Meta:
        abstract = True
        verbose_name = "Sample"
        verbose_name_plural = "Samples"

    def is_active(self) -> Any:
        if has_own_code(type(self)):
            result = contract.is_drawn(self.percent) if self.pk else None
        else:
            result = evaluating.sample_result(self.name)
        if result is None:
            return self._missing("SAMPLES", percent=_ALL * get_setting("SAMPLE_DEFAULT"))
        return result


class Sample(AbstractBaseSample):
    """A sample, active for a share of the evaluations."""

    class Meta(AbstractBaseSample.Meta):
        abstract = False
        swappable = "WAFFLE_SAMPLE_MODEL"

"""Models whose own code takes part in the evaluation. The tests create their tables."""

from __future__ import annotations

from typing import Any

from django.db import models
from waffle.models import AbstractBaseFlag, AbstractBaseSample, AbstractBaseSwitch, AbstractUserFlag

#: The names of rows whose own code has run.
asked: list[str] = []


class Organizations(models.Model):
    """What several flag models of a project share."""

    organization: models.Field[str, str] = models.CharField(max_length=20, default="")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.organization


class Observed:
    """A mixin before waffle's class, which only observes."""

    def is_active(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(self.name)
        return super().is_active(request, *args, **kwargs)  # type: ignore[misc]


class SharedFlag(Organizations, AbstractUserFlag):
    """An abstract class between waffle's and that of the project."""

    class Meta(AbstractUserFlag.Meta):
        abstract = True

    def is_active_for_user(self, user: Any) -> Any:
        asked.append(self.name)
        if self.organization and getattr(user, "last_name", "") == self.organization:
            return True
        return super().is_active_for_user(user)


class OrgFlag(Observed, SharedFlag):
    """The flags: on for the users of an organization, too."""

    class Meta(AbstractUserFlag.Meta):
        abstract = False
        managed = False


class EarlyFlag(OrgFlag):
    """Gives a feature to all about whom waffle says anything, as one project does."""

    class Meta(OrgFlag.Meta):
        proxy = True

    def is_active_for_user(self, user: Any) -> bool:
        asked.append(self.name)
        return super().is_active_for_user(user) is not None


class AsyncFlag(OrgFlag):
    """Is asked by `await`."""

    class Meta(OrgFlag.Meta):
        proxy = True

    async def is_active(self, request: Any, read_only: bool = False) -> bool:
        asked.append(self.name)
        return True


class PlainFlag(AbstractBaseFlag):
    """Without lists of users."""

    class Meta(AbstractBaseFlag.Meta):
        abstract = False
        managed = False

    def is_active(self, request: Any, read_only: bool = False) -> Any:
        asked.append(self.name)
        return super().is_active(request, read_only)


class LoudSwitch(AbstractBaseSwitch):
    """Reports its results."""

    class Meta(AbstractBaseSwitch.Meta):
        abstract = False
        managed = False

    def is_active(self) -> Any:
        asked.append(self.name)
        return super().is_active()


class LoudSample(AbstractBaseSample):
    """Reports its results."""

    class Meta(AbstractBaseSample.Meta):
        abstract = False
        managed = False

    def is_active(self) -> Any:
        asked.append(self.name)
        return super().is_active()

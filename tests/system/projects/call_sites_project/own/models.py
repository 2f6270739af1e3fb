from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import models
from waffle.models import AbstractUserFlag


class TeamFlag(AbstractUserFlag):
    """A flag with a column of the project, which evaluates as waffle's does."""

    teams = models.ManyToManyField(Group, blank=True, related_name="+")


class SelfEvaluatingFlag(TeamFlag):
    """A flag whose own code takes part in its evaluation."""

    class Meta:
        proxy = True

    def is_active(self, request: Any, *arguments: Any, **options: Any) -> bool:
        return bool(super().is_active(request, *arguments, **options))

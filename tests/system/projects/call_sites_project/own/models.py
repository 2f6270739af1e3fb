from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import models
from waffle.models import AbstractUserFlag


class TeamFlag(AbstractUserFlag):
    """A flag with a column of the project, which evaluates as waffle's does."""

    teams = models.ManyToManyField(Group, blank=True, related_name="+")

"""A flag model of a project in the place of waffle's."""

from __future__ import annotations

from django.db import models
from waffle.models import AbstractUserFlag


class Team(models.Model):
    name = models.TextField()

    class Meta:
        app_label = "teams"

    def __str__(self) -> str:
        return self.name


class TeamFlag(AbstractUserFlag):
    teams = models.ManyToManyField(Team, blank=True)

    class Meta(AbstractUserFlag.Meta):
        app_label = "teams"

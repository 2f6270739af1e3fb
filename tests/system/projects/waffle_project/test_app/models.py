"""The models that waffle's tests import: custom ones in the place of waffle's."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from waffle.models import AbstractBaseSample, AbstractBaseSwitch, AbstractUserFlag


class Company(models.Model):
    name: models.Field[str, str] = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class CompanyUser(AbstractBaseUser):
    username: models.Field[str, str] = models.CharField(max_length=100)
    company = models.ForeignKey(Company, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return self.username


class CustomSwitch(AbstractBaseSwitch):
    """A switch without changes."""


class CustomSample(AbstractBaseSample):
    """A sample without changes."""


class CompanyAwareFlag(AbstractUserFlag):
    """A flag that is also on for the users of some companies."""

    companies = models.ManyToManyField(Company, blank=True)

    def is_active_for_user(self, user: Any) -> bool | None:
        """Returns True for a user of one of its companies."""
        if super().is_active_for_user(user):
            return True
        company = getattr(user, "company_id", None)
        return True if self.companies.filter(pk=company).exists() else None

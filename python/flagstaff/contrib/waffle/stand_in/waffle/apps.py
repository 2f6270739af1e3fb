from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class WaffleConfig(AppConfig):
    name = "waffle"
    verbose_name = "django-waffle"
    default_auto_field = "django.db.models.AutoField"

    def ready(self) -> None:
        """Connects the receivers that write changes of rows to our flags."""
        if not apps.is_installed("flagstaff"):
            raise ImproperlyConfigured(
                'flagstaff.contrib.waffle.install() was called, but "flagstaff" is not in '
                "INSTALLED_APPS"
            )
        from waffle.signals import connect  # noqa: PLC0415 (models first)

        connect(self)

"""What the admin of flags says about flags that waffle still evaluates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.utils.translation import gettext as _

from flagstaff.admin.flag.parts.app_panels import AppPart
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf


class WaffleFlag(AppPart):
    """Says that a flag is evaluated by waffle: a kill in flagstaff has no effect yet."""

    app_label = "flagstaff_compat"

    def attention(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """The flags that come from waffle and are not served. Makes at most one query."""
        settings = waffle_settings()
        if settings.serve is True or not flags or not apps.is_installed("waffle"):
            return {}
        pks = {flag.key: str(flag.pk) for flag in flags}
        rows = WaffleRow._base_manager.using(conf.database).filter(key__in=pks)
        return {
            pks[key]: _("Waffle evaluates it: changes have no effect yet")
            for key, name in rows.values_list("key", "name")
            if not settings.serves(name)
        }

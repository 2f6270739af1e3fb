"""What the admin of flags says about flags that waffle still evaluates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.utils.translation import gettext as _

from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.flag.parts.app_panels import AppPart
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf


class WaffleFlag(AppPart):
    """Says that a flag is evaluated by waffle: a kill in flagstaff has no effect yet."""

    app_label = "flagstaff_compat"

    def notes(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """Says it quietly: before Serve, it is so for all flags. Makes at most one query."""
        return dict.fromkeys(_evaluated_by_waffle(flags), _("Waffle evaluates it"))

    def rows_of_change(self, flags: Sequence[Any]) -> Mapping[str, PreviewRow]:
        """Says it where a change is confirmed. Makes at most one query."""
        row = PreviewRow("waffle", _("evaluates this flag"), _("this change has no effect yet"))
        return dict.fromkeys(_evaluated_by_waffle(flags), row)


def _evaluated_by_waffle(flags: Sequence[Any]) -> list[str]:
    """Returns the primary keys of the flags that come from waffle and are not served, as text."""
    settings = waffle_settings()
    if settings.serve is True or not flags or not apps.is_installed("waffle"):
        return []
    pks = {flag.key: str(flag.pk) for flag in flags}
    rows = WaffleRow._base_manager.using(conf.database).filter(key__in=pks)
    names = rows.values_list("key", "name")
    return [pks[key] for key, name in names if not settings.serves(name)]

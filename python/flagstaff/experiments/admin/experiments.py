"""The admin of experiments. An experiment is not edited as a row: its buttons change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.rows import uncached
from flagstaff.admin.cells import key_cell, labelled_cell, time_cell
from flagstaff.admin.permissions import ReadOnlyMixin
from flagstaff.admin.views import EnvironmentMixin
from flagstaff.conf import conf
from flagstaff.experiments.admin.add_page import AddPageMixin
from flagstaff.experiments.admin.page import ReportPageMixin
from flagstaff.experiments.admin.tables import shares_text
from flagstaff.experiments.admin.texts import state_label
from flagstaff.experiments.models import Experiment

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

    _ModelAdmin = admin.ModelAdmin[Experiment]
else:
    _ModelAdmin = admin.ModelAdmin


class ExperimentAdmin(
    EnvironmentMixin,
    AddPageMixin,
    ReportPageMixin,
    ReadOnlyMixin,
    _ModelAdmin,
):
    """Experiments: a list, a page for each with its report and buttons, and a form for new ones."""

    list_display: _ListDisplayT[Experiment] = (
        "experiment",
        "shown_state",
        "shown_variants",
        "started",
        "shown_owner",
    )
    list_display_links = ("experiment",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", "owner")
    ordering = ("-id",)
    # An experiment is deleted on its page, which says what happens then.
    actions = None

    class Media:
        css = {
            "all": (
                *("flagstaff/admin.css", "flagstaff/lists.css"),
                *("flagstaff/charts.css", "flagstaff/experiments.css"),
            ),
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        """All experiments of the flags' database."""
        found: QuerySet[Experiment] = uncached(super().get_queryset(request).using(conf.database))
        # Frozen reports are large, and the list shows none.
        return found.defer("frozen_report")

    @admin.display(description=gettext_lazy("experiment"), ordering="key")
    def experiment(self, experiment: Experiment) -> SafeString:
        """The key and the description."""
        return key_cell(experiment)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, experiment: Experiment) -> SafeString:
        """The state, and the variant that was shipped."""
        winner = experiment.winner
        note = _("everyone gets %(winner)s") % {"winner": winner} if winner else ""
        label = state_label(experiment.state)
        return format_html('{} <span class="flagstaff-note">{}</span>', label, note)

    @admin.display(description=gettext_lazy("variants"))
    def shown_variants(self, experiment: Experiment) -> SafeString:
        """The variants with their shares of all units."""
        return labelled_cell(_("variants"), shares_text(experiment))

    @admin.display(description=gettext_lazy("started"), ordering="started_at")
    def started(self, experiment: Experiment) -> SafeString:
        """The time since the start."""
        return labelled_cell(_("started"), time_cell(experiment.started_at))

    @admin.display(description=gettext_lazy("owner"), ordering="owner")
    def shown_owner(self, experiment: Experiment) -> SafeString:
        """The team or the person to ask."""
        return labelled_cell(_("owner"), experiment.owner)

"""The admin of experiments. An experiment is not edited as a row: its buttons change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.times import aware
from flagstaff.admin.action_page import ActionPageAdmin, Button, Deletion
from flagstaff.admin.app_pages import Level
from flagstaff.admin.cells import time_cell, two_lines
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.conf import conf
from flagstaff.experiments import lifecycle
from flagstaff.experiments.admin.buttons import buttons_of
from flagstaff.experiments.admin.form_page import FormPage
from flagstaff.experiments.admin.overview import URGENCY, verdict_lines
from flagstaff.experiments.admin.page import json_page, page_context
from flagstaff.experiments.admin.tables import shares_text
from flagstaff.experiments.admin.texts import state_labels
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.rows import newest_event

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple


class ExperimentAdmin(ActionPageAdmin):
    """Experiments: a list, a page for each with its report and buttons, and a form for new ones."""

    page_template = "flagstaff/experiments/experiment.html"
    stale_text = gettext_lazy(
        "Not saved: the experiment has changed since you opened the page. The page now shows the "
        "present state; press the button again."
    )

    docs_page = "how-to/experiments/"
    list_display: _ListDisplayT[Experiment] = (
        "experiment",
        "shown_state",
        "verdict",
        "started",
        "shown_owner",
    )
    list_display_links = ("experiment",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", "owner")
    # What needs somebody comes first.
    ordering = (URGENCY.asc(), "-id")

    class Media:
        css = {"all": ("flagstaff/action_page.css", "flagstaff/experiments.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        """All experiments of the flags' database."""
        # Frozen reports are large, and the list shows none.
        return super().get_queryset(request).defer("frozen_report").select_related("stored_verdict")

    def buttons(self, request: HttpRequest, row: Experiment) -> Sequence[Button]:
        """The buttons that the state of the experiment allows."""
        return buttons_of(row)

    def version(self, row: Experiment) -> str:
        """A text that differs after each change. Makes a query."""
        return str(newest_event(row))

    def page_context(self, request: HttpRequest, row: Experiment) -> Mapping[str, object]:
        """The report."""
        return page_context(self.admin_site, request, row)

    def other_page(self, request: HttpRequest, row: Experiment) -> HttpResponse | None:
        """The report as JSON."""
        return json_page(row) if request.GET.get("format") == "json" else None

    def events(self, row: Experiment) -> QuerySet[ExperimentEvent]:
        """What has happened to the experiment."""
        return ExperimentEvent.objects.using(conf.database).filter(experiment_id=row.pk)

    def deletion(self, request: HttpRequest, row: Experiment) -> Deletion:
        """What the page says that deletes an experiment."""
        question = _(
            "Delete the experiment “%(key)s” with its exposures, report and events? Every call "
            "gets its default. This cannot be undone."
        )
        shipped = _("Everyone gets “%(winner)s” now. Remove the experiment from the code first.")
        running = _("The experiment “%(key)s” is running. Stop it before you delete it.")
        state, names = State(row.state), {"key": row.key, "winner": row.winner}
        return Deletion(
            title=_("Delete an experiment"),
            question=question % names,
            rows=[PreviewRow(_("state"), str(state.label), _("deleted"))],
            done=_("The experiment “%(key)s” was deleted.") % names,
            refused=running % names if state is State.RUNNING else "",
            warnings=[shipped % names] if state is State.SHIPPED else [],
        )

    def delete(self, row: Experiment) -> None:
        """Deletes an experiment."""
        lifecycle.delete(row.key)

    def add_page(self, request: HttpRequest) -> HttpResponse:
        """The form of a new experiment."""
        return FormPage(self, request).answer()

    def can_edit(self, row: Experiment) -> bool:
        """Whether it has not started."""
        return row.state == State.DRAFT

    def edit_page(self, request: HttpRequest, row: Experiment) -> HttpResponse:
        """The form of a draft."""
        return FormPage(self, request, row).answer()

    @admin.display(description=gettext_lazy("experiment"), ordering="key")
    def experiment(self, experiment: Experiment) -> SafeString:
        """The key, with the description as its tooltip, and the variants."""
        key = format_html(
            '<span class="flagstaff-key" title="{}">{}</span>',
            *(experiment.description, experiment.key),
        )
        return two_lines(key, shares_text(experiment))

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, experiment: Experiment) -> SafeString:
        """The state, and the variant that was shipped."""
        winner = experiment.winner
        note = _("everyone gets “%(winner)s”") % {"winner": winner} if winner else ""
        return two_lines(state_labels(experiment), note)

    @admin.display(description=gettext_lazy("verdict"), ordering=URGENCY)
    def verdict(self, experiment: Experiment) -> str:
        """The last verdict of a running experiment, in red if somebody must look at it."""
        if experiment.state != State.RUNNING:
            return ""
        level, label, text = next(verdict_lines(experiment, aware(timezone.now())))
        if level is Level.RUNNING:
            return two_lines("", text)
        return two_lines(label, text)

    @admin.display(description=gettext_lazy("started"), ordering="started_at")
    def started(self, experiment: Experiment) -> str:
        """The time since the start."""
        return time_cell(experiment.started_at)

    @admin.display(description=gettext_lazy("owner"), ordering="owner")
    def shown_owner(self, experiment: Experiment) -> str:
        """The team or the person to ask."""
        return experiment.owner

"""The page that creates an experiment, or edits a draft."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from flagstaff.admin.action_page import ActionPageAdmin
from flagstaff.admin.rules.editor import EDIT
from flagstaff.admin.rules.offers import mark_texts
from flagstaff.admin.views import VERSION
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments import editing, lifecycle, metric_settings
from flagstaff.experiments.admin.estimate import estimate
from flagstaff.experiments.admin.experiment_form import ExperimentForm, form_error
from flagstaff.experiments.models import Experiment, ExperimentEvent

# The name of the button that shows how long it takes, and saves nothing.
_ESTIMATE = "_estimate"


class FormPage:
    """The form of a new experiment; with a draft, the form that edits it."""

    def __init__(
        self, admin: ActionPageAdmin, request: HttpRequest, draft: Experiment | None = None
    ) -> None:
        self.admin = admin
        self.request = request
        self.draft = draft

    def answer(self) -> HttpResponse:
        """Returns the form, or saves the experiment and goes to its page."""
        request = self.request
        if request.method != "POST":
            return self._page(self._form(None))
        form = self._form(request.POST)
        is_valid = form.is_valid()
        if EDIT in request.POST or _ESTIMATE in request.POST:
            # Nothing is saved, so nothing has to be corrected yet.
            form.errors.clear()
        elif is_valid and (saved := self._save(form)) is not None:
            return self._saved(form, saved)
        return self._page(form)

    def _form(self, data: Any) -> ExperimentForm:
        return ExperimentForm(
            data,
            request=self.request,
            site=self.admin.admin_site,
            experiment=self.draft,
        )

    def _save(self, form: ExperimentForm) -> Experiment | None:
        """Creates or edits the experiment; None with an error of the form if that fails."""
        try:
            if self.draft is None:
                return _create(form)
            if changes := self._changes_since(self.draft):
                text = _(
                    "Not saved: the experiment has changed since you opened the form: %(changes)s. "
                    "What you typed is below. Save again to replace the changes."
                )
                form.add_error(None, text % {"changes": changes})
                return None
            return editing.edit(self.draft.key, **form.settings(), **form.metrics())
        except ExperimentError as error:
            form.add_error(None, form_error(error))
        return None

    def _changes_since(self, draft: Experiment) -> str:
        """Returns what has happened since the form was opened; empty if nothing."""
        shown = self.request.POST.get(VERSION, "")
        if shown == self.admin.version(draft):
            return ""
        events = ExperimentEvent.objects.using(conf.database).filter(experiment_id=draft.pk)
        newer = events.filter(id__gt=int(shown)) if shown.isdecimal() else events
        return "; ".join(event.message for event in newer.order_by("id"))

    def _saved(self, form: ExperimentForm, experiment: Experiment) -> HttpResponse:
        text = (
            _("The experiment “%(key)s” was created. It has not started.")
            if self.draft is None
            else _("The experiment “%(key)s” was saved.")
        )
        text %= {"key": experiment.key}
        response = self.admin.was_saved(self.request, experiment, text)
        rules = form.cleaned_data["rules"]
        if "rules" in form.changed_data and (marks := mark_texts(rules, errors=False)):
            self.admin.message_user(self.request, " ".join(marks), messages.WARNING)
        return response

    def _page(self, form: ExperimentForm) -> HttpResponse:
        draft = self.draft
        shown = form.draft() if form.is_bound else draft
        context: dict[str, object] = {
            "title": _("Add experiment"),
            "save_label": _("Create experiment"),
            "form": form,
            "errors": bool(form.errors),
            "estimate": [] if shown is None else estimate(shown),
            "media": self.admin.media + form.media,
        }
        if draft is not None:
            context |= {
                "title": _("Edit “%(key)s”") % {"key": draft.key},
                "save_label": _("Save"),
                "add": False,
                "original": draft,
                "version": self.admin.version(draft),
                "back_url": self.admin.url("change", draft.pk),
            }
        return self.admin.form_page(self.request, "flagstaff/experiments/form.html", context)


def _create(form: ExperimentForm) -> Experiment:
    with transaction.atomic(using=conf.database):
        experiment = lifecycle.create(form.cleaned_data["key"], **form.settings())
        return metric_settings.set_metrics(experiment.key, **form.metrics())

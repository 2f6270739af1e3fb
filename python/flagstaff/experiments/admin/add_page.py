"""The page that creates an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff.admin.links import page_url
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments import analysis, lifecycle
from flagstaff.experiments.admin.forms import ExperimentForm
from flagstaff.experiments.known_texts import EXPERIMENT_TEXTS
from flagstaff.experiments.models import Experiment

__all__ = ["AddPageMixin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Experiment]
else:
    _ModelAdmin = object


class AddPageMixin(_ModelAdmin):
    """Put it before the mixin of the page of an experiment."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form of a new experiment, or the page of an existing one."""
        if object_id is not None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ExperimentForm(request.POST if request.method == "POST" else None)
        experiment = _create(form) if form.is_valid() else None
        if experiment is None:
            return self._form_page(request, form)
        text = _("The experiment “%(key)s” was created. It has not started.")
        text %= {"key": experiment.key}
        self.log_change(request, experiment, text)
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self._url_after(request, experiment))

    def _url_after(self, request: HttpRequest, experiment: Experiment) -> str:
        """Returns the page of the experiment, or the list for users who may not see it."""
        if self.has_view_permission(request, experiment):
            return page_url(self.admin_site, self.model, "change", experiment.pk)
        return page_url(self.admin_site, self.model, "add")

    def _form_page(self, request: HttpRequest, form: ExperimentForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add experiment"),
            "opts": self.opts,
            "media": self.media,
            "add": True,
            "has_view_permission": self.has_view_permission(request),
            "form": form,
            "errors": form.is_bound and not form.is_valid(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/experiments/add.html", context)


def _create(form: ExperimentForm) -> Experiment | None:
    """Creates the experiment with its metrics; None with an error of the form if that fails."""
    given = form.cleaned_data
    try:
        with transaction.atomic(using=conf.database):
            experiment = lifecycle.create(
                given["key"],
                given["variants"],
                traffic_percent=given["traffic_percent"],
                bucket_by=given["bucket_by"],
                rules=given["rules"],
                description=given["description"],
                owner=given["owner"],
            )
            return analysis.set_metrics(experiment.key, **form.metrics())
    except ExperimentError as error:
        form.add_error(None, EXPERIMENT_TEXTS.translate(str(error)))
    return None

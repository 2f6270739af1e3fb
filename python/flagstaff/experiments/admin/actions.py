"""What a button of an experiment does: a confirmation page first, then the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._tables.rows import Row
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import CONFIRMED, ConfirmationMixin, PreviewRow
from flagstaff.admin.links import page_url
from flagstaff.admin.views import VERSION, with_typed_reason
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments import lifecycle
from flagstaff.experiments.admin.buttons import STOP, Button, Confirmation, buttons_of
from flagstaff.experiments.models import Experiment, ExperimentEvent, State

#: The name of the buttons.
BUTTON = "_experiment"
_DELETE = "_delete"

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Experiment]
else:
    _ModelAdmin = object


class ActionsMixin(ConfirmationMixin, _ModelAdmin):
    """Put it before ModelAdmin."""

    def run_action(self, request: HttpRequest, experiment: Experiment) -> HttpResponse:
        """Runs the action of a button after its page was confirmed. The user may change the row."""
        name = request.POST.get(BUTTON, "")
        button = next((button for button in buttons_of(experiment) if button.name == name), None)
        if button is None:
            text = _("Not saved: the experiment has changed since you opened the page.")
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        is_confirmed = CONFIRMED in request.POST
        confirmation = button.confirm(experiment, request.POST if is_confirmed else None)
        is_valid = is_confirmed and (confirmation.form is None or confirmation.form.is_valid())
        if not is_valid or self._is_old(request, experiment, button):
            return self._confirm(request, experiment, button, confirmation)
        try:
            button.run(experiment.key, confirmation.form)
        except ExperimentError as error:
            problem = localized(error.message)
            if confirmation.form is None:
                self.message_user(request, with_typed_reason(request, problem), messages.ERROR)
                return HttpResponseRedirect(request.get_full_path())
            confirmation.form.add_error(None, ValidationError(problem, code=error.code))
            return self._confirm(request, experiment, button, confirmation)
        self._report_done(request, experiment, button)
        return HttpResponseRedirect(request.get_full_path())

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Deletes an experiment after a confirmation."""
        experiment = self.get_object(request, object_id)
        if experiment is None:
            raise Http404
        if not self.has_delete_permission(request, experiment):
            raise PermissionDenied
        if experiment.state == State.RUNNING:
            text = _("The experiment “%(key)s” is running. Stop it before you delete it.")
            self.message_user(request, text % {"key": experiment.key}, messages.ERROR)
            return HttpResponseRedirect(self._page_url("change", experiment.pk))
        if request.method != "POST" or CONFIRMED not in request.POST:
            return self._confirm_deletion(request, experiment)
        text = _("The experiment “%(key)s” was deleted.") % {"key": experiment.key}
        self.log_change(request, experiment, text)
        lifecycle.delete(experiment.key)
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self._page_url("changelist"))

    def confirmation(
        self, request: HttpRequest, row: Row, context: Mapping[str, object]
    ) -> TemplateResponse:
        """Returns the page, with the breadcrumbs of the experiment."""
        page = {
            "flagstaff_parent": "admin/change_form.html",
            "original": row.key,
            "has_view_permission": True,
            "media": self.media,
            # REQUIRE_REASON is about flags, values and segments.
            "flagstaff_needs_reason": False,
            **context,
        }
        response = super().confirmation(request, row, page)
        response.template_name = "flagstaff/experiments/confirm.html"
        return response

    def _is_old(self, request: HttpRequest, experiment: Experiment, button: Button) -> bool:
        """Whether the confirmation page was made for an earlier state; says so in a message."""
        if button is STOP or request.POST.get(VERSION) == _version(experiment):
            return False
        text = _("Not saved: the experiment has changed. The page now shows the present state.")
        self.message_user(request, text, messages.ERROR)
        return True

    def _report_done(self, request: HttpRequest, experiment: Experiment, button: Button) -> None:
        text = str(button.done) % {"key": experiment.key}
        self.log_change(request, experiment, text)
        self.message_user(request, text, messages.SUCCESS)
        if button.then is not None:
            self.message_user(request, button.then(experiment.key), messages.INFO)

    def _confirm(
        self,
        request: HttpRequest,
        experiment: Experiment,
        button: Button,
        confirmation: Confirmation,
    ) -> HttpResponse:
        context = {
            "title": str(button.label),
            "flagstaff_question": str(button.question) % {"key": experiment.key},
            "flagstaff_rows": confirmation.rows,
            "flagstaff_version": _version(experiment),
            "flagstaff_button": BUTTON,
            "flagstaff_target": button.name,
            "flagstaff_label": button.label,
            "flagstaff_form": confirmation.form,
            "flagstaff_warnings": confirmation.warnings,
        }
        return self.confirmation(request, cast("Row", experiment), context)

    def _confirm_deletion(self, request: HttpRequest, experiment: Experiment) -> HttpResponse:
        question = _(
            "Delete the experiment “%(key)s” with its exposures, report and events? Every call "
            "gets its default. This cannot be undone."
        )
        state = str(State(experiment.state).label)
        context: dict[str, object] = {
            "title": _("Delete an experiment"),
            "flagstaff_question": question % {"key": experiment.key},
            "flagstaff_rows": [PreviewRow(_("state"), state, _("deleted"))],
            "flagstaff_button": _DELETE,
            "flagstaff_target": "1",
            "flagstaff_label": _("Delete"),
            "flagstaff_back": self._page_url("change", experiment.pk),
            "flagstaff_version": None,
        }
        if experiment.state == State.SHIPPED:
            text = _("Everyone gets “%(winner)s” now. Remove the experiment from the code first.")
            context["flagstaff_warnings"] = (text % {"winner": experiment.winner},)
        return self.confirmation(request, cast("Row", experiment), context)

    def _page_url(self, page: str, *arguments: object) -> str:
        return page_url(self.admin_site, self.model, page, *arguments)


def _version(experiment: Experiment) -> str:
    """Returns a text that differs after each change. Makes a query."""
    events = ExperimentEvent.objects.using(conf.database).filter(experiment_id=experiment.pk)
    return str(events.aggregate(newest=Max("id"))["newest"] or 0)

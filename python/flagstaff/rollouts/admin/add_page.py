"""The page that creates a plan."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow, all_rows, find_row
from flagstaff._words.local_formats import local_time_text
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import (
    ConfirmationMixin,
    PreviewRow,
    posted_fields,
    problems_of,
)
from flagstaff.admin.links import page_url
from flagstaff.admin.permissions import may
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, InvalidPlanError
from flagstaff.rollouts import plans
from flagstaff.rollouts.admin.forms import GuardRows, PlanForm, StepRows, guard_rows, step_rows
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.first_step import first_step_of
from flagstaff.rollouts.models import ACTIVE_STATES, Plan
from flagstaff.rollouts.releasing import planned_steps
from flagstaff.rollouts.transitions import steps_of

# The name of the button that adds empty rows, and the number of them.
_MORE, _MORE_ROWS = "_more", 3
# The name of the button that leads from the confirmation back to the form.
_EDIT = "_edit"
# The keys that the form suggests.
_MAX_KEYS = 500

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Plan]
else:
    _ModelAdmin = object


class _ConfirmationNeededError(Exception):
    """The plan must be confirmed. Rolls back the transaction that has created it."""

    def __init__(self, page: TemplateResponse) -> None:
        super().__init__()
        self.page = page


class AddPageMixin(ConfirmationMixin, _ModelAdmin):
    """Put it before the mixin of the page of a plan."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form of a new plan, or the page of an existing one."""
        if object_id is not None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            key = request.GET.get("flag", "")
            flag = _flag(key)
            form = PlanForm(initial={"key": key}, keys=_keys())
            above = 0 if flag is None else flag.rollout_percent
            least = None if flag is None else first_step_of(flag, plans.REQUIRED_USERS)
            steps = step_rows(above=above, least=least or 1)
            return self._form_page(request, form, steps, guard_rows())
        if _MORE in request.POST or _EDIT in request.POST:
            return self._same_form(request)
        form = PlanForm(request.POST, keys=_keys())
        steps, guards = step_rows(request.POST), guard_rows(request.POST)
        is_valid = all([form.is_valid(), steps.is_valid(), guards.is_valid()])
        try:
            plan = self._create(request, form, steps, guards) if is_valid else None
        except _ConfirmationNeededError as needed:
            return needed.page
        if plan is None:
            return self._form_page(request, form, steps, guards)
        text = _("The rollout plan of “%(key)s” was created.") % {"key": plan.key}
        self.log_change(request, plan, text)
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(page_url(self.admin_site, self.model, "change", plan.pk))

    def _create(
        self, request: HttpRequest, form: PlanForm, steps: StepRows, guards: GuardRows
    ) -> Plan | None:
        """Creates the plan; None with an error of the form if that fails."""
        key, flag = form.cleaned_data["key"], _flag(form.cleaned_data["key"])
        if not may(self.admin_site, request, "toggle", flag):
            raise PermissionDenied
        try:
            with transaction.atomic(using=conf.database):
                plan = plans.create(
                    key,
                    steps.steps(),
                    guards=guards.guards(),
                    required_users=form.cleaned_data["required_users"],
                    starts_at=form.cleaned_data["starts_at"],
                )
                if flag is not None and plan.starts_at is not None:
                    # The plan starts without a confirmation, so this is the release.
                    self._require_confirmation(request, plan, flag)
                return plan
        except InvalidPlanError as error:
            form.add_error(None, localized(error.message))
        except FlagstaffError as error:
            form.add_error("key", localized(error.message))
        return None

    def _require_confirmation(self, request: HttpRequest, plan: Plan, flag: FlagRow) -> None:
        """Asks for the next and for the last step, unless the page that asks was posted.

        Raises _ConfirmationNeededError, which takes the plan back.
        """
        ahead = planned_steps(flag, steps_of(plan), 0)
        # The form has checked the reason.
        problems = problems_of(request, ahead.text_to_type, needs_reason=False)
        if problems is not None and not problems:
            return
        starts_at = "" if plan.starts_at is None else local_time_text(plan.starts_at)
        question = _("Schedule the rollout plan of “%(key)s” for %(time)s?")
        page = self.confirmation(
            request,
            flag,
            {
                "title": _("Plan a rollout"),
                "add": True,
                "flagstaff_question": question % {"key": plan.key, "time": starts_at},
                "flagstaff_rows": [*starmap(PreviewRow, ahead.rows)],
                "flagstaff_notes": ahead.notes,
                "flagstaff_posted": posted_fields(request),
                "flagstaff_may_edit": True,
                "flagstaff_typed": ahead.text_to_type,
                "flagstaff_problems": problems,
                "flagstaff_label": _("Schedule"),
                "flagstaff_version": None,
            },
        )
        raise _ConfirmationNeededError(page)

    def _same_form(self, request: HttpRequest) -> HttpResponse:
        """The same form, perhaps with more empty rows. Nothing is checked or saved."""
        data = request.POST.copy()
        name = f"{data.get(_MORE, '')}-TOTAL_FORMS"
        total = data.get(name, "")
        if total.isascii() and total.isdigit() and len(total) <= len("100"):
            data[name] = str(int(total) + _MORE_ROWS)
        form = PlanForm(data, keys=_keys())
        return self._form_page(request, form, step_rows(data), guard_rows(data), shows_errors=False)

    def _form_page(
        self,
        request: HttpRequest,
        form: PlanForm,
        steps: StepRows,
        guards: GuardRows,
        *,
        shows_errors: bool = True,
    ) -> HttpResponse:
        flag = _flag(str(form["key"].value() or ""))
        is_bound = form.is_bound and shows_errors
        context = {
            **self.admin_site.each_context(request),
            "title": _("Plan a rollout"),
            "opts": self.opts,
            "media": self.media,
            "add": True,
            "has_view_permission": self.has_view_permission(request),
            "form": form,
            "steps": steps,
            "guards": guards,
            "shows_errors": is_bound,
            "errors": is_bound and not (form.is_valid() and steps.is_valid() and guards.is_valid()),
            "time_zone": timezone.get_current_timezone_name(),
            "present": None if flag is None else f"{flag.rollout_percent} %",
            "rules_grant": flag is not None and rules_can_grant(flag),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/rollouts/add.html", context)


def _flag(key: str) -> FlagRow | None:
    """Returns the flag, or None if there is none."""
    return cast("FlagRow | None", find_row(conf.flag_model, key)) if key else None


def _keys() -> list[str]:
    """Returns the keys of flags without an active plan."""
    active = Plan.objects.using(conf.database).filter(state__in=ACTIVE_STATES)
    planned = set(active.values_list("key", flat=True))
    keys = all_rows(conf.flag_model).order_by("key").values_list("key", flat=True)
    return [key for key in keys[:_MAX_KEYS] if key not in planned]

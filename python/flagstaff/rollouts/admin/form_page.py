"""The page that creates a plan."""

from __future__ import annotations

from itertools import islice
from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow, all_rows, find_row
from flagstaff._words.text import localized
from flagstaff.admin.action_page import ActionPageAdmin
from flagstaff.admin.confirmation import posted_fields, problems_of
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.admin.views import REASON, VERSION
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, InvalidPlanError
from flagstaff.rollouts import plans
from flagstaff.rollouts.admin.forms import (
    GuardRows,
    PlanForm,
    StepRows,
    boxes_and_rows,
    guard_rows,
    step_rows,
    usual_steps,
)
from flagstaff.rollouts.conditions import present_rollout, rules_can_grant
from flagstaff.rollouts.first_step import first_step_of, usual_required_users
from flagstaff.rollouts.guards import ERRORS, Guard, guards_from_json
from flagstaff.rollouts.models import ACTIVE_STATES, Plan
from flagstaff.rollouts.stored import problem_of_plan, steps_of

# The name of the button that adds empty rows, and the number of them.
_MORE, _MORE_ROWS = "_more", 3
# The name of the button that leads from the confirmation back to the form.
_EDIT = "_edit"
# The keys that the form suggests.
_MAX_KEYS = 500
# Longer numbers are no primary keys.
_MAX_DIGITS = 19


class _ConfirmationNeededError(Exception):
    """The plan must be confirmed. Rolls back the transaction that has written it."""

    def __init__(self, page: TemplateResponse) -> None:
        super().__init__()
        self.page = page


class FormPage:
    """The form of a new plan, and the question that a plan with a time asks."""

    def __init__(self, admin: ActionPageAdmin, request: HttpRequest) -> None:
        self.admin = admin
        self.request = request

    def answer(self) -> HttpResponse:
        """Returns the form, or saves the plan and goes to its page."""
        request = self.request
        if request.method != "POST":
            return self._page(*self._initial())
        if _MORE in request.POST or _EDIT in request.POST:
            return self._same_form()
        form, steps, guards = self._forms(request.POST)
        if all([form.is_valid(), steps.is_valid(), guards.is_valid()]):
            try:
                with transaction.atomic(using=conf.database):
                    plan = self._save(form, steps, guards)
            except _ConfirmationNeededError as needed:
                return needed.page
            except InvalidPlanError as error:
                form.add_error(None, localized(error.message))
            except FlagstaffError as error:
                form.add_error("key", localized(error.message))
            else:
                text = _("The rollout plan of “%(key)s” was created.") % {"key": plan.key}
                return self.admin.was_saved(request, plan, text)
        return self._page(form, steps, guards)

    def _forms(self, data: Any) -> tuple[PlanForm, StepRows, GuardRows]:
        """Returns the form with what was posted."""
        return PlanForm(data, keys=_keys(self)), step_rows(data), guard_rows(data)

    def _ask(self, row: object, ahead_text: str, context: dict[str, object]) -> None:
        """Raises _ConfirmationNeededError, unless the page that asks was posted."""
        # The form has checked the reason.
        problems = problems_of(self.request, ahead_text, needs_reason=False)
        version = context.get("flagstaff_version")
        if problems is not None and version and self.request.POST.get(VERSION) != version:
            text = _(
                "Not saved: the flag has changed since you opened the page. The page now shows the "
                "present state; press the button again."
            )
            problems = [text, *problems]
        if problems is not None and not problems:
            return
        page = {
            "flagstaff_posted": [
                (name, value)
                for name, value in posted_fields(self.request)
                if name != VERSION or not version
            ],
            "flagstaff_may_edit": True,
            "flagstaff_typed": ahead_text,
            "flagstaff_problems": problems,
            **context,
        }
        raise _ConfirmationNeededError(
            self.admin.confirmation(self.request, cast("Any", row), page)
        )

    def _same_form(self) -> HttpResponse:
        """The same form, perhaps with more empty rows. Nothing is checked or saved."""
        data = self.request.POST.copy()
        name = f"{data.get(_MORE, '')}-TOTAL_FORMS"
        total = data.get(name, "")
        if total.isascii() and total.isdigit() and len(total) <= len("100"):
            data[name] = str(int(total) + _MORE_ROWS)
        return self._page(*self._forms(data), shows_errors=False)

    def _page(
        self, form: PlanForm, steps: StepRows, guards: GuardRows, *, shows_errors: bool = True
    ) -> HttpResponse:
        is_bound = form.is_bound and shows_errors
        has_folded_errors = is_bound and (form.errors or guards.errors or guards.non_form_errors())
        context = {
            "form": form,
            # A template cannot read a name that begins with an underscore.
            "reason": form[REASON],
            "steps": steps,
            "guards": guards,
            "shows_errors": is_bound,
            "errors": is_bound and not (form.is_valid() and steps.is_valid() and guards.is_valid()),
            "is_folded": not has_folded_errors,
            **self._context(form),
        }
        return self.admin.form_page(self.request, "flagstaff/rollouts/form.html", context)

    def _initial(self) -> tuple[PlanForm, StepRows, GuardRows]:
        """Returns the usual plan, or one like the last plan that the URL names."""
        key = self.request.GET.get("flag", "")
        flag, last = _shown_flag(self, key), _plan(self, self.request.GET.get("like", ""))
        above = 0 if flag is None else present_rollout(flag)
        users = usual_required_users(flag, plans.REQUIRED_USERS)
        initial = {"key": key, "required_users": users if last is None else last.required_users}
        if last is None:
            least = None if flag is None else first_step_of(flag, users)
            steps, guards = usual_steps(above, least or 1), [Guard(ERRORS)]
        else:
            steps = [step for step in steps_of(last) if step.percent > above]
            guards = [*guards_from_json(last.guards)]
        boxes, rows = boxes_and_rows(guards)
        form = PlanForm(initial={**initial, **boxes}, keys=_keys(self))
        return form, step_rows(steps=steps), guard_rows(guards=rows)

    def _save(self, form: PlanForm, steps: StepRows, guards: GuardRows) -> Plan:
        """Creates the plan."""
        key = form.cleaned_data["key"]
        flag = _flag(key)
        row = conf.flag_model if flag is None else flag
        if not may(self.admin.admin_site, self.request, "toggle", row):
            raise PermissionDenied
        users = form.cleaned_data["required_users"]
        return plans.create(
            key,
            steps.steps(),
            guards=[*form.guards(), *guards.guards()],
            required_users=users,
        )

    def _context(self, form: PlanForm) -> dict[str, object]:
        """The flag of the form, and the last plan."""
        flag = _shown_flag(self, str(form["key"].value() or ""))
        return {
            **_flag_context(flag),
            "title": _("Plan a rollout"),
            "save_label": _("Create plan"),
            "is_off": flag is not None and not flag.enabled,
            "last": None if form.is_bound else _last_plan(self, form["key"].value()),
        }


def _flag_context(flag: FlagRow | None) -> dict[str, object]:
    return {
        "present": None if flag is None else f"{flag.rollout_percent} %",
        "rules_grant": flag is not None and rules_can_grant(flag),
    }


def _flag(key: str) -> FlagRow | None:
    """Returns the flag, or None if there is none."""
    return cast("FlagRow | None", find_row(conf.flag_model, key)) if key else None


def _shown_flag(page: FormPage, key: str) -> FlagRow | None:
    """Returns the flag, or None if there is none that the user may see."""
    flag = _flag(key)
    is_shown = flag is not None and may(page.admin.admin_site, page.request, "view", flag)
    return flag if is_shown else None


def _keys(page: FormPage) -> list[str]:
    """Returns the keys of flags without an active plan, as far as the user may see them."""
    active = Plan.objects.using(conf.database).filter(state__in=ACTIVE_STATES)
    planned = set(active.values_list("key", flat=True))
    left_out = planned.union(
        hidden_rows(page.admin.admin_site, page.request, conf.flag_model).values()
    )
    keys = all_rows(conf.flag_model).order_by("key").values_list("key", flat=True)
    return [*islice((key for key in keys if key not in left_out), _MAX_KEYS)]


def _last_plan(page: FormPage, key: Any) -> Plan | None:
    """Returns the newest plan, of this flag if it had one, whose steps can be used again."""
    shown = page.admin.get_queryset(page.request).order_by("-id")
    last = shown.filter(key=key).first() or shown.first()
    return None if last is None or problem_of_plan(last) else last


def _plan(page: FormPage, pk: str) -> Plan | None:
    """Returns the plan that the URL names; None if it is hidden or cannot be read."""
    is_number = pk.isdecimal() and len(pk) < _MAX_DIGITS
    found = page.admin.get_queryset(page.request).filter(pk=pk).first() if is_number else None
    return None if found is None or problem_of_plan(found) else found

"""The page that confirms a save which gives a flag to users: it shows the impact."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import all_rows
from flagstaff.admin.bucket_units import reassigned_text
from flagstaff.admin.confirmation import ConfirmedFormMixin, posted_fields
from flagstaff.admin.flag_permissions import may
from flagstaff.admin.flag_state import preview
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.changes.allowed_users import ALLOWED, count_allowed_users
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.planned import Planned, impact_text, planned, planned_edit
from flagstaff.exceptions import InvalidChangeError


class ConfirmedSavingMixin(ConfirmedFormMixin, ModelAdminMixin):
    """Put it before SavingMixin."""

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Writes the edited fields, unless they have to be confirmed first.

        The right to add flags is not the right to give one to users.
        """
        plan = _planned(obj, form, is_new=not change)
        if plan is not None and not change:
            self._require_release(request, obj, plan)
        if plan is not None and plan.consequence >= Consequence.WIDENS:
            page = partial(self._confirmation_page, request, plan)
            self.require_confirmation(request, plan.text_to_type, page)
        super().save_model(request, obj, form, change)
        self.set_users_text(request, "" if plan is None or not change else impact_text(plan))

    def _require_release(self, request: HttpRequest, flag: Any, plan: Planned) -> None:
        reaches_users = plan.after.reaches_users(lambda: plan.added)
        if reaches_users and not may(self.admin_site, request, "toggle", flag):
            text = _(
                "users would have the new flag at once, and you do not have the permission to "
                "change or toggle flags. Add it turned off"
            )
            raise InvalidChangeError(text)

    def _confirmation_page(
        self, request: HttpRequest, change: Planned, problems: list[str] | None
    ) -> TemplateResponse:
        flag = all_rows(self.model).filter(key=change.key).first()
        allowed = change.added if flag is None else count_allowed_users(flag)
        is_reassigned = change.before.enabled and change.before.bucket_by != change.after.bucket_by
        return self.confirmation(
            request,
            flag or self.model(key=change.key),
            {
                "title": _("Save a flag") if flag else _("Add a flag"),
                "subtitle": None,
                "flagstaff_parent": "admin/base_site.html",
                "flagstaff_question": _("Save these changes of “%(key)s”?") % {"key": change.key},
                "flagstaff_rows": preview(change.before, change.after, allowed, change.impact),
                "flagstaff_notes": list(_notes(change, is_reassigned=is_reassigned)),
                "flagstaff_posted": posted_fields(request),
                "flagstaff_may_edit": True,
                "flagstaff_typed": change.text_to_type,
                "flagstaff_problems": problems,
                "flagstaff_label": _("Save %(key)s") % {"key": change.key},
            },
        )


def _notes(change: Planned, *, is_reassigned: bool) -> list[str]:
    if is_reassigned:
        return [reassigned_text()]
    return [text] if (text := impact_text(change)) else []


def _planned(flag: Any, form: MergingForm, *, is_new: bool) -> Planned | None:
    """Returns what a save would do; None if it edits no field that decides about results."""
    if is_new:
        after = FlagState.of(flag)
        plan = planned(flag.key, replace(after, enabled=False), after)
        return replace(plan, added=len(form.cleaned_data.get(ALLOWED) or ()))
    stored = all_rows(type(flag)).filter(pk=flag.pk).first()
    # If the flag was deleted meanwhile, the write reports it.
    return None if stored is None else planned_edit(stored, form.changed_fields)

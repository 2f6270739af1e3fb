"""The impact of a form before it is saved: how many users would gain or lose the flag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern
from django.utils.translation import ngettext

from flagstaff._tables.model_fields import RULES
from flagstaff.admin.flag.form.inputs import RolloutInput
from flagstaff.admin.flag.form.rights import mark_toggle_page
from flagstaff.admin.links import page_url, row_path
from flagstaff.admin.page import stored_row
from flagstaff.admin.part import Part
from flagstaff.admin.rights import may
from flagstaff.admin.rule_editor.part import marks_of_rows
from flagstaff.changes.consequence import ignored_text, impact_text, share_text
from flagstaff.changes.impact import RowState, impact, impact_of_enabling
from flagstaff.history.kinds import Kind

#: The button that counts without a script.
COUNT = "_count"


class Impact(Part):
    """Counts users while a person edits, for a script or after a button."""

    def urls(self) -> Sequence[URLPattern]:
        """The URL that a script requests."""
        return [row_path(self.admin, "impact", self.impact_view)]

    def impact_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Returns the sentence about what the form has posted, as JSON. Writes nothing."""
        flag = self.admin.get_object(request, unquote(object_id))
        if flag is None:
            raise Http404
        if request.method != "POST" or not may(self.admin.admin_site, request, "view", flag):
            raise PermissionDenied
        mark_toggle_page(self.admin, request, flag)
        form = self.admin.get_form(request, flag, change=True)(request.POST, instance=flag)
        text = _form_impact(request, stored_row(flag), form)
        return JsonResponse({"text": text, "marks": marks_of_rows(form, RULES)})

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """Gives the rollout's input the URL of the script, or the counted users."""
        form = context["adminform"].form
        rollout = form.fields.get("rollout_percent")
        if row is None or rollout is None or not isinstance(rollout.widget, RolloutInput):
            return {}
        site, model = self.admin.admin_site, self.admin.model
        rollout.widget.impact_url = page_url(site, model, "impact", row.pk)
        if COUNT in request.POST:
            # The form of the page is shown again unchecked.
            checked = type(form)(request.POST, instance=copy(stored_row(row)))
            checked.is_review = False
            rollout.widget.impact_text = _form_impact(request, stored_row(row), checked)
        return {}


def _form_impact(request: HttpRequest, flag: Any, form: Any) -> str:
    """Returns the sentence about a form; without edits, how many users have the flag now."""
    form.full_clean()
    edited = {
        name: form.cleaned_data[name] for name in form.changed_data if name in form.cleaned_data
    }
    now = RowState(Kind.FLAG, flag)
    after = now.after(edited)
    if found := impact([now], [after], viewer=request.user):
        return impact_text(found)
    found = impact_of_enabling([after.row], viewer=request.user)
    [effect] = found.values()
    if effect.users is None:
        return impact_text(found)
    if after.row.enabled:
        text = ngettext(
            "%(count)s user has the flag now.", "%(count)s users have the flag now.", effect.users
        )
    else:
        text = ngettext(
            "If the flag were on, %(count)s user would have it.",
            "If the flag were on, %(count)s users would have it.",
            effect.users,
        )
    text %= {"count": share_text(effect, effect.on[1])}
    return " ".join(filter(None, [text, ignored_text(effect)]))

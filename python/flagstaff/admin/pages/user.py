"""The flags and values of one user: a page, and the link to it on the page of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff import _core
from flagstaff._core import Snapshot
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explained, Explanation, ValueExplanation, explanation_of
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.typed_context import parse_text
from flagstaff._stored_value_schema import is_secret
from flagstaff._tables import bucket_units
from flagstaff._tables.flag_states import ALL_USERS
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.text import local_number, localized
from flagstaff.actions.arguments import name_of_users
from flagstaff.admin.links import admin_of, may_view, page_path, page_url
from flagstaff.admin.menu import page_link
from flagstaff.admin.rights import hidden_rows, needs_view_user_text
from flagstaff.admin.table import (
    PAGE,
    Column,
    Content,
    Filter,
    Page,
    Table,
    page_links,
    page_number,
    with_query,
)
from flagstaff.admin.typed_user import TypedUser, typed_user
from flagstaff.admin.views import extend_template
from flagstaff.admin.words import badge, key_link
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.history.user_names import may_see_users

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

_ON = "on"
_PAGE_SIZE = 200
# The values that the page shows, and the length of each.
_MAX_VALUES, _MAX_LENGTH = 200, 80


class EvaluationForm(forms.Form):
    """The user and the context of an evaluation, as a person types them."""

    user = forms.CharField(
        required=False,
        help_text=gettext_lazy("Leave it empty for an anonymous user."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    context = forms.CharField(
        label=gettext_lazy("Context"),
        required=False,
        help_text=gettext_lazy(
            "What your code passes beside the user: name=value on each line, such as country=DE, "
            "or JSON."
        ),
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].label = name_of_users()

    def clean_user(self) -> TypedUser:
        """Returns the user of the text. Queries the users."""
        found = typed_user(self.cleaned_data["user"])
        if found.problem:
            raise forms.ValidationError(found.problem)
        return found

    def clean_context(self) -> dict[str, object]:
        """Returns the attributes of the text."""
        typed = parse_text(self.cleaned_data["context"])
        if typed.problems:
            raise forms.ValidationError([*map(localized, typed.problems)])
        return typed.attributes


class UserFlags(Page):
    """Users who may view flags and users see which flags and values a user has."""

    def content(self) -> Content:
        """The flags of the user in the URL. The number of queries does not depend on theirs."""
        if not may_see_users(self.request.user):
            return Content(notes=[needs_view_user_text()])
        is_typed = not {"user", "context"}.isdisjoint(self.request.GET)
        form = EvaluationForm(self.request.GET if is_typed else None)
        if not form.is_valid():
            return Content(form)
        user, context = form.cleaned_data["user"], form.cleaned_data["context"]
        # In a few queries: the snapshot of this process may be older. Counts no usage.
        with read_own_writes():
            snapshot = _core.snapshot()
            if not snapshot.ready:
                return Content(form, notes=[_("The flags cannot be read from the database.")])
            pks = self._visible_flags()
            found = evaluated_flags(snapshot, pks, user.argument, context)
            values = self._values(snapshot, user.argument, context)
        on = [key for key in pks if found[key].value]
        is_only_on = _ON in self.request.GET
        page = Paginator(on if is_only_on else [*pks], _PAGE_SIZE).get_page(
            page_number(self.request)
        )
        titles = (_("Flag"), _("State"), _("Why"))
        rows = [(self._key(key, pks), _state(found[key]), short_reason(found[key])) for key in page]
        return Content(
            form,
            sentence=_sentence(len(on), len(pks), user),
            notes=[*user.notes()],
            filters=[
                self._filter(_("All flags"), len(pks), None, is_current=not is_only_on),
                self._filter(_("Only on"), len(on), "1", is_current=is_only_on),
            ],
            tables=[
                *([Table([*map(Column, titles)], rows)] if rows else []),
                *([values] if values.rows else []),
            ],
            pages=page_links(self.request, page.number, has_next=page.has_next()),
            remarks=[
                _(
                    "The flags are evaluated as they are stored, and not counted as usage. A user "
                    "is in a rollout of 25 percent if the bucket is below 25."
                )
            ],
        )

    def _visible_flags(self) -> dict[str, Any]:
        """Returns the primary keys of the flags that the list shows to the user, by key."""
        model = conf.flag_model
        hidden = hidden_rows(self.site, self.request, model)
        rows = all_rows(model).order_by("key").values_list("key", "pk")
        return {key: pk for key, pk in rows if str(pk) not in hidden}

    def _key(self, key: str, pks: Mapping[str, Any]) -> str:
        return key_link(key, page_url(self.site, conf.flag_model, "change", pks[key]))

    def _filter(self, label: str, count: int, value: str | None, *, is_current: bool) -> Filter:
        url = with_query(self.request, {_ON: value, PAGE: None})
        return Filter(label, url, is_current, local_number(count))

    def _values(self, snapshot: Snapshot, user: Any, context: dict[str, object]) -> Table:
        """Returns the values with rules that the list of values shows to the user."""
        model, rows = conf.value_model, []
        value_admin = admin_of(self.site, model)
        if value_admin is not None and may_view(self.site, self.request, model):
            stored = value_admin.get_queryset(self.request).exclude(rules=[])
            rows = [*stored.order_by("key")[:_MAX_VALUES]]
        shown = []
        for row in rows:
            one = snapshot.explain(row.key, user, context=context, kind="value")
            found = explanation_of(ValueExplanation, row.key, one)
            value = describe_value(found.value, secret=is_secret(row))
            key = key_link(row.key, page_url(self.site, model, "change", row.pk))
            shown.append((key, Truncator(value).chars(_MAX_LENGTH), short_value_reason(found)))
        titles = (_("Value"), _("Result"), _("Why"))
        return Table([*map(Column, titles)], shown, _("Values with rules"))


def evaluated_flags(
    snapshot: Snapshot, keys: Iterable[str], user: Any, context: dict[str, object]
) -> dict[str, Explanation]:
    """Returns the result of each flag with its reason, by key."""
    return {
        key: explanation_of(Explanation, key, snapshot.explain(key, user, context=context))
        for key in keys
    }


# The reasons in a few words.


def _sentence(on: int, total: int, user: TypedUser) -> str:
    text = ngettext(
        "%(on)s of %(total)s flag is on for %(user)s.",
        "%(on)s of %(total)s flags are on for %(user)s.",
        total,
    )
    numbers = {"on": local_number(on), "total": local_number(total)}
    return text % {**numbers, "user": user.words}


def _state(found: Explanation) -> str:
    if found.value:
        return badge("on", pgettext("state of a flag", "on"))
    return badge("off", pgettext("state of a flag", "off"))


def short_reason(found: Explanation) -> str:
    """Returns why the flag is on or off in a few words."""
    if found.override is not None:
        is_forced = found.override == VARIABLE
        return _("forced off in this process") if is_forced else _("overridden by a test")
    if found.rule is not None:
        return ", ".join(_rule(found))
    if found.error_code == "PARSE_ERROR":
        return _("its rules cannot be read, so calls return their default")
    texts = {
        "DISABLED": _("disabled"),
        "TARGETING_MATCH": _("allowed user"),
        "STATIC": _rollout(found, ALL_USERS),
    }
    if (text := texts.get(found.reason)) is not None:
        return text
    if found.rollout_percent is None:
        return _("its row cannot be read, so calls return their default")
    return _rollout(found, found.rollout_percent)


def short_value_reason(found: ValueExplanation) -> str:
    """Returns which rule has decided a value, in a few words."""
    if found.override is not None:
        return _("overridden by a test")
    if found.rule is None:
        return _("no rule matches")
    return ", ".join([*_rule(found), *([_("so the value itself")] if found.has_own else [])])


def _rule(found: Explained) -> list[str]:
    """Returns the rule that decided, and its rollout unless it gives the result to all."""
    percent = found.deciding_step.values["percent"]
    text = _("rule %(number)s “%(name)s”") if found.rule_name else _("rule %(number)s")
    rule = text % {"number": found.rule, "name": found.rule_name}
    return [rule] if percent >= ALL_USERS else [rule, _rollout(found, percent)]


def _rollout(found: Explained, percent: int) -> str:
    """Returns the rollout that decided, with the bucket if it depends on one."""
    unit = found.bucket_by or bucket_units.USER
    texts = {"percent": percent, "bucket": found.bucket, "unit": unit}
    if not 0 < percent < ALL_USERS:
        return _("rollout of %(percent)s %%") % texts
    if unit == bucket_units.USER:
        if found.bucket is None:
            return _("rollout of %(percent)s %%, but there is no user") % texts
        return _("rollout of %(percent)s %%, bucket %(bucket)s") % texts
    if found.bucket is None:
        return _("rollout of %(percent)s %%, but %(unit)s is missing") % texts
    return _("rollout of %(percent)s %%, bucket %(bucket)s by %(unit)s") % texts


# The link from the page of a user in the project's own admin.


class UserFlagsMixin(_ModelAdmin):
    """Adds a link to the flags of a user to the page of the user. Put it before UserAdmin."""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with the link for users who may open it."""
        response = super().render_change_form(request, context, *args, **kwargs)
        url = _link(self.admin_site, request, context.get("original"))
        if url and isinstance(response, TemplateResponse):
            extend_template(response, "flagstaff/user_link.html", "flagstaff_user_page")
            response.context_data = {**(response.context_data or {}), "flagstaff_flags_url": url}
        return response


def _link(site: admin.AdminSite, request: HttpRequest, user: Any) -> str:
    field = allowed_user_table().field
    may_open = page_link(site, request, "user") and may_see_users(request.user)
    if not (may_open and isinstance(user, field.model)):
        return ""
    return page_path(site, "user", {"user": str(getattr(user, field.attname))})

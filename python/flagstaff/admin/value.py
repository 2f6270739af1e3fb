"""The admin of values: what each is, who gets what, and the actions that change it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Field, OuterRef, QuerySet, Subquery, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst

from flagstaff._declared import DECLARED, Value, declared_value, may_be_null, value_problems
from flagstaff._tables.rows import BUCKET_BY, RULES, Kind, is_stored
from flagstaff._tables.states import DEFAULT, ValueState
from flagstaff._text import MASK, localized, say, truncated
from flagstaff.actions import Action
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.admin.declared import DeclaredField
from flagstaff.admin.flag.usage import evaluations
from flagstaff.admin.links import page_url, row_id
from flagstaff.admin.parts import Head, Level, Note, Section
from flagstaff.admin.rights import can_read, may
from flagstaff.admin.row_page import COUNT_TIMEOUT, RowPageAdmin
from flagstaff.admin.rules.forms import YES_NO
from flagstaff.admin.rules.sentences import results_html, rules_note
from flagstaff.admin.words import (
    json_html,
    key_cell,
    newest_change_cells,
    note_html,
    time_cell,
    two_lines,
)
from flagstaff.changes.consequence import users_text
from flagstaff.changes.fields import command_line
from flagstaff.changes.impact import impact
from flagstaff.changes.row_states import RowState
from flagstaff.history.describe import describe_value
from flagstaff.history.log import Change, versions_of
from flagstaff.models import KeyValueStore
from flagstaff.validators import (
    CHOICES,
    SECRET,
    SECRET_FIELDS,
    VALUE,
    is_secret,
    secret_fields,
    value_rule_problem,
)

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

# The parameter of the page that shows a secret value.
_SHOW = "show"
# The length of a value in the list, and on its page.
_MAX_SHOWN, _MAX_ON_PAGE = 80, 10_000
_VALUE_HELP = say(
    'JSON: a string in double quotes, such as "stripe", or 25, true, [1, 2]. The order of the '
    "names in an object is not kept."
).lazy


def _newest_entry() -> Subquery:
    """Returns the id of the newest entry of a value: SQL does not set `changed_at`."""
    entries = Change.objects.of_kinds([Kind.VALUE])
    of_row = entries.filter(object_pk=Cast(OuterRef("pk"), TextField()))
    return Subquery(of_row.order_by("-id").values("id")[:1])


# The settings say which table the entries are about.
_NEWEST: Any = SimpleLazyObject(_newest_entry)


class _ValueChangeList(ChangeList):
    def get_queryset(self, request: HttpRequest, *options: Any, **others: Any) -> QuerySet[Any]:
        """The values that nobody declares: the others stand above the list."""
        values = super().get_queryset(request, *options, **others)
        declared = [key for key in DECLARED if declared_value(key) is not None]
        return values.exclude(key__in=declared) if declared else values


class KeyValueStoreAdmin(RowPageAdmin):
    """Values, also those of a project's own value model."""

    row_kind = Kind.VALUE
    docs_page = "how-to/values/"
    no_rules = say("No rules: everyone gets the value itself.").lazy
    rules_help = say(
        "The first rule that matches decides. Users outside its percentage, and users whom no rule "
        "matches, get the value itself."
    ).lazy

    list_display: _ListDisplayT[KeyValueStore] = (
        "value_key",
        "shown_value",
        "value_type",
        "changed",
    )
    list_display_links = ("value_key",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("secret",)
    ordering = ("key",)

    # Rights.

    def has_group_permission(self, request: HttpRequest, group: str) -> bool:
        """Whether the user may change the values of a group. A subclass may restrict it."""
        return True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change values, or this one."""
        declared = None if obj is None else declared_value(obj.key)
        may_change = super().has_change_permission(request, obj)
        return may_change and (
            declared is None or self.has_group_permission(request, declared.group)
        )

    # The list.

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Rejects filters by value: a secret could be guessed character by character."""
        is_secret_field = lookup.partition("__")[0] in SECRET_FIELDS
        return not is_secret_field and super().lookup_allowed(lookup, value, request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list."""
        return _ValueChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with the newest change of each value of the page."""
        changelist = super().get_changelist_instance(request)
        if can_read(request, "change_table"):
            versions = versions_of(Kind.VALUE, [row.pk for row in changelist.result_list])
            newest = newest_change_cells(versions.values())
            for row in changelist.result_list:
                row.newest_change = newest.get(str(row.pk), "")
        return changelist

    @admin.display(description=say("key").lazy, ordering="key")
    def value_key(self, row: Any) -> SafeString:
        """The key and the description."""
        return key_cell(row)

    @admin.display(description=say("value").lazy)
    def shown_value(self, row: Any) -> SafeString:
        """The value as JSON, truncated, and its rules. A secret value is masked."""
        text = Truncator(describe_value(row.value, secret=is_secret(row))).chars(_MAX_SHOWN)
        return two_lines(json_html(text), rules_note(row.rules, value_rule_problem))

    @admin.display(description=say("type").lazy)
    def value_type(self, row: Any) -> str:
        """The type that the value has to have."""
        return str(row.get_type_display()) if row.type else ""

    @admin.display(description=say("changed").lazy, ordering=_NEWEST)
    def changed(self, row: Any) -> str:
        """The newest change in a few words, its actor and its time."""
        return getattr(row, "newest_change", None) or time_cell(row.changed_at)

    # The page.

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """The value, who gets what, and the rest. A secret is masked unless it is asked for."""
        may_show = is_secret(row) and may(self.admin_site, request, "change", row)
        is_masked = is_secret(row) and not (may_show and _SHOW in request.GET)
        html = _masked_html(may_show=may_show) if is_masked else _json_html(row.value)
        yield Section(capfirst(say("value").local), html, ("set",))
        state = replace(ValueState.of(row), is_secret=is_masked)
        targeting = results_html(state, self.admin_site, request)
        if state.has_rules:
            targeting += _users_note(request, row)
        if is_secret(row):
            targeting += note_html(_terminal_text(row.key))
        yield Section(capfirst(say("who gets what").local), targeting, ("set-for-everyone", RULES))
        unit = () if state.has_rules else (BUCKET_BY,)
        where = note_html(
            format_html(
                "{} <code>{}</code>",
                say("Find it in the code:").local,
                command_line("references", row.key),
            )
        )
        section = evaluations(request, row.key, of_value=True)
        yield replace(section, html=format_html("{}{}", section.html, where))
        yield self.about(row, VALUE, RULES, *unit, *secret_fields(row))

    def head(self, request: HttpRequest, row: Any) -> Head:
        """That nobody has set a declared value, and what is wrong with one that somebody has.

        The type of a wrong secret is for who may see it.
        """
        may_see_value = not is_secret(row) or may(self.admin_site, request, "change", row)
        is_checked = declared_value(row.key) is not None and may_see_value
        problems = value_problems(row) if is_checked else {}
        state = ("", "") if is_stored(row) else ("off", str(DEFAULT))
        notes = [Note(localized(problem), Level.PROBLEM) for problem in problems.values()]
        return Head(state=state, notes=notes)

    def is_offered(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Rules of a secret value are written by the terminal."""
        is_declared = declared_value(row.key) is not None
        if action.name in ("delete", "default"):
            return is_declared is (action.name == "default") and is_stored(row)
        if action.name == RULES:
            return not is_secret(row)
        return action.name != "set-for-everyone" or ValueState.of(row).has_rules

    # The pages of the actions.

    def prepare_form(
        self, form: ArgumentForm, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """Offers what the schema allows, and leaves out what a form must not contain."""
        fields = cast("dict[str, Any]", form.fields)
        if row is None:
            # The page of the value leads to its rules.
            for name in (RULES, BUCKET_BY):
                fields.pop(name, None)
            return
        if RULES in fields:
            if is_secret(row):
                raise PermissionDenied(_terminal_text(row.key))
            # No rules are rules, too.
            fields[RULES].required = False
            fields[RULES].widget.is_nullable = may_be_null(row)
            fields[RULES].widget.results = _results(row)
        is_declared = declared_value(row.key) is not None
        if is_declared and VALUE in fields:
            _show_declared(form, row)
        if is_secret(row):
            _mask(form, row)
        elif CHOICES in fields:
            # Empty are no choices; those of a secret are kept.
            fields[CHOICES].empty_value = []
        elif VALUE in fields and not is_declared and (options := _options(row)):
            texts = dict.fromkeys(map(fields[VALUE].prepare_value, [*options, row.value]))
            fields[VALUE].widget = forms.Select(choices=[(text, text) for text in texts])

    def next_steps(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """The page of the rules, which the page of a new value lacks."""
        may_change = self.may_do(request, self.page_actions[RULES], row)
        url = page_url(self.admin_site, self.model, RULES, row_id(row))
        return [(url, say("Rules…").local)] if may_change and not is_secret(row) else []

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field. A value may be empty in the model, but not in a form."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and db_field.name == VALUE:
            field.required, field.help_text = True, _VALUE_HELP
        return field


def _show_declared(form: ArgumentForm, row: Any) -> None:
    """Gives a declared value the input of its type. The details of one need none."""
    fields = form.fields
    plain_field = fields.pop(VALUE)
    is_optional = plain_field.show_hidden_initial
    # Only who makes a secret public types it again beside its details.
    if is_secret(row) or not is_optional:
        declared = cast("Value[Any]", declared_value(row.key))
        field = DeclaredField(
            declared,
            is_masked=is_secret(row),
            is_null=form.initial.get(VALUE) is None,
            label=plain_field.label,
        )
        field.show_hidden_initial = is_optional
        fields[VALUE] = field


def _mask(form: ArgumentForm, row: Any) -> None:
    """Leaves out what a secret value is."""
    fields = cast("dict[str, Any]", form.fields)
    form.initial = {**form.initial, **dict.fromkeys(SECRET_FIELDS)}
    if SECRET in fields:
        fields[SECRET].validators = [partial(_require_typed, form, row)]
    if VALUE in fields and fields[VALUE].show_hidden_initial:  # beside the details
        text = say("The value is not shown here. Leave this empty to keep it, or type a new one.")
        fields[VALUE].required, fields[VALUE].help_text = False, text.local


def _options(row: Any) -> Sequence[Any]:
    """Returns the values that the schema of a row allows; nothing for any."""
    return row.choices or ([True, False] if row.type == "boolean" else [])


def _results(row: Any) -> Mapping[str, object]:
    """Returns the labels of the values that a rule may give, by their JSON; empty for any."""
    declared = declared_value(row.key)
    if declared is not None:
        results = DeclaredField(declared).results()
    else:
        results = {json.dumps(option, ensure_ascii=False): option for option in _options(row)}
    if results and may_be_null(row):
        results["null"] = "null"
    return {text: YES_NO.get(text, label) for text, label in results.items()}


def _masked_html(*, may_show: bool) -> SafeString:
    link = format_html(' <a href="?{}=1">{}</a>', _SHOW, say("Show").local) if may_show else ""
    return format_html("<p>{}{}</p>", MASK, link)


def _json_html(value: object) -> SafeString:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return format_html(
        '<pre class="flagstaff-json">{}</pre>', localized(truncated(text, _MAX_ON_PAGE))
    )


def _users_note(request: HttpRequest, row: Any) -> SafeString:
    """How many users get something else than the value itself."""
    now = RowState(Kind.VALUE, row)
    before = [now.after({RULES: []})]
    effects = impact(before, [now], timeout=COUNT_TIMEOUT, viewer=request.user)
    [effect] = effects.values()
    return note_html(
        say(
            "Users who get another value than the value itself: {users}.",
            users=users_text(effect, effect.changed),
        ).local
    )


def _terminal_text(key: str) -> str:
    return say(
        "Rules of a secret value are written in the terminal: {command}",
        command=command_line("value", "rules", key, "FILE"),
    ).local


def _require_typed(form: forms.Form, row: Any, stays_secret: object) -> None:
    """Refuses to make a secret value public together with what was not typed again."""
    if stays_secret:
        return
    if row.rules:
        raise ValidationError(
            say(
                "Everybody who may view values would see what the rules give. Remove them first, "
                "with “Set for everyone”."
            ).local
        )
    if not form.fields[VALUE].has_changed(None, form[VALUE].data):
        raise ValidationError(
            say(
                "Everybody who may view values will see this value. Type it again to confirm."
            ).local
        )

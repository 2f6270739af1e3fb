"""The admin of flags: the page of a flag, and the pages of its actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from django import forms
from django.db.models import Field
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from flagstaff._tables.database import db, user_field, value_or_default
from flagstaff._tables.rows import OWNER, REVIEW_ON, RULES, TAGS, Kind, declaration, is_stored
from flagstaff._tables.states import AS_DECLARED, FlagState
from flagstaff._text import say
from flagstaff.actions import Action
from flagstaff.actions.arguments import TagsField
from flagstaff.actions.table import Look, Right, has_permission, reaches_users
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.admin.changes.page import RecentChanges
from flagstaff.admin.flag.list import FlagListAdmin
from flagstaff.admin.flag.preview import can_be_previewed, preview_menu, preview_notes, preview_path
from flagstaff.admin.flag.targeting import targeting
from flagstaff.admin.flag.usage import evaluations
from flagstaff.admin.flag.users import users_path
from flagstaff.admin.links import page_url, row_id
from flagstaff.admin.looks import (
    alarms_of,
    allowed_count,
    apps_on_flag,
    holds_users_back,
    notes_of_code,
    state_and_label,
    summary_of,
)
from flagstaff.admin.pages.cleanup import StaleFlags, UnknownKeys
from flagstaff.admin.pages.compare import Compare
from flagstaff.admin.pages.overview import Overview
from flagstaff.admin.pages.search import Search
from flagstaff.admin.pages.user import UserFlags
from flagstaff.admin.pages.workers import WorkersPage
from flagstaff.admin.parts import Head, Section
from flagstaff.admin.rights import can_read, has_toggle_permission, may
from flagstaff.admin.row_page import COUNT_TIMEOUT, ActionLink, RowPageAdmin
from flagstaff.admin.rules.sentences import used_by_html
from flagstaff.admin.waiting_parts import LATER
from flagstaff.admin.words import colour_of
from flagstaff.changes.consequence import flag_text, holders_texts, users_text
from flagstaff.changes.fields import ALLOWED
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.changes.row_states import RowState, RuleUse
from flagstaff.changes.rule_use import uses_by_name
from flagstaff.history.describe import may_see_users
from flagstaff.models import WaitingAction
from flagstaff.validators import joined_tags

# Those that are about no single row.
_PAGES = (Overview, RecentChanges, UserFlags, UnknownKeys, WorkersPage, StaleFlags, Compare, Search)
_STEPS = ("0", "1", "5", "25", "50", "100")
# The actions after which one expects all users of a percentage to have the flag.
_GIVING = ("on", "rollout", "rules")
# The actions that only the page of the allowed users leads to.
_OF_USERS = ("allow", "disallow")
# The columns that the page of a flag shows above, and the time of the last change, beside it.
_ABOVE = ("enabled", "rollout_percent", RULES, "description", OWNER, TAGS, REVIEW_ON)
_ELSEWHERE = (*_ABOVE, "changed_at")
_RELEASE, _CANCEL = say("100 %, also in rules"), say("Cancel what waits")
_FOR_STAFF = '[{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [true]}]}]'


class FeatureFlagAdmin(FlagListAdmin, RowPageAdmin):
    """Flags, also those of a project's own flag model."""

    row_kind = Kind.FLAG
    no_rules = say("No rules: the rollout decides.").lazy
    rules_help = say(
        "The first rule that matches decides. If no rule matches, the rollout decides."
    ).lazy
    # Of the two that turn flags off, one can wait.
    menu_labels: ClassVar[Mapping[str, Promise]] = {
        "kill": say("Kill: off at once").lazy,
        "off": say("Turn off: now or scheduled").lazy,
    }

    def own_urls(self) -> Iterator[URLPattern]:
        """The pages that are about no single row, the page of the allowed users, and the others."""
        yield from (page.url_pattern(self) for page in _PAGES)
        yield users_path(self)
        yield preview_path(self)
        yield from super().own_urls()

    # Rights.

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete flags. One that users have needs the right to toggle it."""
        may_delete = super().has_delete_permission(request, obj)
        if not may_delete or obj is None or may(self.admin_site, request, "toggle", obj):
            return may_delete
        return not reaches_users(RowState(Kind.FLAG, obj))

    def has_toggle_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may turn flags on and off, or this one. A subclass may restrict it."""
        return has_toggle_permission(self, request, obj)

    def may_do(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Whether the user may do an action. Names of users need the permission to see users."""
        if action.name in _OF_USERS and not may_see_users(request.user):
            return False
        return super().may_do(request, action, row)

    def needed_right(self, request: HttpRequest, action: Action, row: Any) -> tuple[Right, Any]:
        """The right to see users, too, or to toggle a flag that users have."""
        if has_permission(request.user, action.right, row):
            if action.name in _OF_USERS:
                return "view", user_field(self.model).model
            if action.deletes:
                return "toggle", row
        return action.right, row

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allows filters by allowed user for users who may view users."""
        is_hidden = lookup.partition("__")[0] == ALLOWED and not may_see_users(request.user)
        return not is_hidden and super().lookup_allowed(lookup, value, request)

    # The page.

    def head(self, request: HttpRequest, row: Any) -> Head:
        """The state, who has the flag, the actions of every day, and what to look at."""
        state, percent = FlagState.of(row), row.rollout_percent
        of_apps = [*apps_on_flag(self.admin_site, request, row)]
        notes = [
            *(note for of_row in notes_of_code([row]).values() for note in of_row),
            *(app.note for app in of_apps if app.note is not None),
            *alarms_of(row.key, state),
            *preview_notes(request),
        ]
        shown, label = state_and_label(row)
        label = label if is_stored(row) else str(AS_DECLARED)
        quiet = '<small class="flagstaff-quiet">{}</small>'
        about = (row.description, row.owner, joined_tags(row.tags), _review_text(row))
        steps = [(f"{step} %", f"?percent={step}") for step in _STEPS if int(step) or percent]
        return Head(
            state=(colour_of(shown.value), label),
            lines=(
                _who_text(request, row),
                format_html(quiet, " · ".join(filter(None, about))) if any(about) else "",
            ),
            main="kill" if row.enabled else "on",
            menu=preview_menu(self.admin_site, request, row),
            steps=("rollout", [*steps, (say("other…").local, "")]),
            # Of a flag that is off, no users have it.
            step=f"{percent} %" if row.enabled else "",
            others=("release", "off"),
            links=[link for app in of_apps for link in app.links],
            notes=notes,
        )

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """Who has the flag and why, its evaluations, and the rest."""
        yield targeting(self, request, row)
        yield evaluations(request, row.key)
        uses = _uses_of(row)
        shown = used_by_html(self.admin_site, request, uses) if uses else ""
        used_by = "\N{EN DASH}" if uses is None else shown
        yield Section(capfirst(say("used by").local), used_by)
        yield self.about(row, *_ELSEWHERE)

    def is_offered(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """What can be done now: not to delete what a rule names.

        The page of the allowed users leads to the actions with them.
        """
        if action.name == "off" and row.enabled:
            # A kill does it at once, so its link is for later, which needs the history.
            return can_read(request, "change_table")
        if action.name == "off":
            return _cancels(row)
        declared = declaration(self.model, row.key)
        offered = {
            "kill": row.enabled,
            "on": not row.enabled,
            "release": holds_users_back(row),
            "details": declared is None or declared.client_side,
            "delete": is_stored(row) and not _uses_of(row),
        }
        return action.name not in _OF_USERS and offered.get(action.name, True)

    # The pages of the actions.

    def prepare_form(
        self, form: ArgumentForm, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """Shows the rollout below the rules, which it follows, and what only several flags need."""
        labels = {"add_tags": say("Add tags").local, "remove_tags": say("Remove tags").local}
        for name in form.fields.keys() & labels:
            form.fields[name].label = labels[name]
            form.fields[name].help_text = say("Separate them with commas.").local
            if row is not None:
                # The line of its tags says both.
                del form.fields[name]
        if action.name == "on":
            percent = form.fields["percent"]
            percent.help_text = say("If it is empty, the rollout stays as it is.").local
            if row is not None:
                text = say("If it is empty, it stays at {percent} %.", percent=row.rollout_percent)
                percent.help_text = text.local
            if row is not None and row.rules:
                percent.label = say("Rollout for everyone else, in percent").local
        if action.name == "rules":
            # An empty list removes them.
            form.fields[RULES].required = False
            form.fields["rollout"].label = say("Rollout for everyone else, in percent").local
            form.initial["rollout"] = row.rollout_percent

    def link_to(self, request: HttpRequest, name: str, row: Any) -> ActionLink:
        """The link to an action. Beside another one, its words say how both differ."""
        link = super().link_to(request, name, row)
        labels = {"release": _RELEASE}
        if name == "off" and row.enabled:
            labels["off"] = say("Turn off later")
            link = replace(link, url=link.url and f"{link.url}?{LATER}=1")
        elif name == "off":
            # It is offered because of what waits.
            labels["off"] = _CANCEL
        label = labels.get(name)
        return replace(link, action=replace(link.action, label=label.lazy)) if label else link

    def worded(self, action: Action, row: Any) -> Action:
        """To turn off what is off cancels what waits. Queries for such a flag."""
        if action.name == "off" and not row.enabled and _cancels(row):
            button = say("Cancel what waits for {key}")
            return replace(action, label=_CANCEL.lazy, button=button)
        return super().worded(action, row)

    def notes_before(self, request: HttpRequest, look: Look) -> Iterator[str]:
        """The way to give a flag also to those whom its rules keep out."""
        rows = [change.after.row for change in look.changed if change.after]
        for row in rows:
            if row is None or row.key not in look.held_back:
                continue
            if self.may_do(request, self.page_actions["release"], row):
                url = page_url(self.admin_site, self.model, "release", row_id(row))
                link = format_html('<a href="{}">{}</a>', url, _RELEASE.local)
                text = say("{link} gives the flag to them, too.", link=link).html
                yield text if len(rows) == 1 else format_html("{}: {}", row.key, text)

    def unchanged_text(self, request: HttpRequest, action: Action) -> str:
        """To turn off what is off ends what browsers preview: only their cookies say what."""
        if action.name not in {"kill", "off"}:
            return super().unchanged_text(request, action)
        if can_be_previewed(request):
            return say("Already off. If somebody previews it in a browser, the preview ends.").local
        return say("Already off.").local

    def summary(self, row: Any) -> str:
        """Which users have the flag."""
        return summary_of(row)

    def next_steps(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """What gives a new flag to users."""
        steps = (
            ("rules", "rules", say("Rules for staff…").local, f"?{urlencode({RULES: _FOR_STAFF})}"),
            ("rules", "rules", say("Rules…").local, ""),
            ("allow", "allowed_users", say("Allowed users…").local, ""),
            ("on", "on", say("Turn on…").local, ""),
        )
        return [
            (page_url(self.admin_site, self.model, page, row_id(row)) + query, text)
            for name, page, text, query in steps
            if self.may_do(request, self.page_actions[name], row)
        ]

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field; for the tags, a line."""
        if db_field.name == TAGS:
            separate = say("Separate them with commas.").local
            help_text = f"{db_field.help_text} {separate}".strip()
            kwargs |= {"form_class": TagsField, "help_text": help_text}
        return super().formfield_for_dbfield(db_field, request, **kwargs)


def _cancels(flag: Any) -> bool:
    """Whether turning off a flag that is off cancels what waits. A query."""
    waiting = WaitingAction.objects.using(db.alias).of_rows(Kind.FLAG.value, [flag.key])
    return waiting.filter(state__in=WaitingAction.OPEN, takes_away=False).exists()


def _uses_of(flag: Any) -> Sequence[RuleUse] | None:
    """Returns what uses a flag; None if it cannot be read. Reads all rules once for a page."""
    if not hasattr(flag, "uses"):
        flag.uses = value_or_default(
            "what uses a flag cannot be read",
            lambda: uses_by_name(of_segments=False)[Kind.FLAG, flag.key],
            None,
        )
    return cast("Sequence[RuleUse] | None", flag.uses)


def _who_text(request: HttpRequest, flag: Any) -> SafeString:
    """How many users have a flag, or else which."""
    summary = flag_text(flag, allowed_count(flag))
    if not flag.enabled:
        return format_html("{}", summary)
    impact = impact_of_enabling([flag], timeout=COUNT_TIMEOUT, viewer=request.user)
    [effect] = impact.values()
    if effect.users is None:
        not_counted = users_text(effect, effect.on[1])
        return format_html("{} {}: {}", summary, say("Users with the flag").local, not_counted)
    counted, ignored = holders_texts(effect)
    text = (
        say("On for {users}, and for everybody who is not logged in.")
        if effect.anonymous[1]
        else say("On for {users}.")
    )
    users = format_html("<strong>{}</strong>", counted)
    return format_html("{} {}", say(text, users=users).html, ignored)


def _review_text(flag: Any) -> str:
    date = flag.review_on and date_format(flag.review_on)
    return say("review on {date}", date=date).local if date else ""

"""Flags in the admin: what state each is in, on and off from the list, the ramp on the page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import PermissionDenied
from django.db.models import Count, PositiveSmallIntegerField, QuerySet, TextField
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff import changes
from flagstaff._tables.states import State, state_label, state_of
from flagstaff.admin.attribution import HandsMixin
from flagstaff.admin.forms import VersionedForm
from flagstaff.admin.history import HistoryMixin
from flagstaff.admin.rollout import RolloutInput, bar
from flagstaff.admin.saving import SavingMixin
from flagstaff.history.users import may_see_users
from flagstaff.models import FeatureFlag

__all__ = ["FeatureFlagAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[FeatureFlag]
else:
    _ModelAdmin = admin.ModelAdmin

# More than these make a page that is slow to open and easy to break.
_MOST_EDITABLE_USERS = 500
_LIST_LEFT_ALONE = "_allowed_users_left_alone"
_MOST_SHOWN = 100

_SWITCHES = {"on": True, "off": False}

# What the style sheet calls each state.
_LOOKS = {
    State.OFF: "off",
    State.ROLLOUT: "part",
    State.ALL: "on",
    State.ALLOWED_USERS: "part",
    State.NO_USERS: "none",
}


class FeatureFlagAdmin(HandsMixin, HistoryMixin, SavingMixin, _ModelAdmin):
    """Flags: a word for the state, a button for the switch, a bar for the rollout."""

    form = VersionedForm
    # The switch stands beside the state, where a narrow screen shows it without scrolling.
    list_display = ("flag", "state", "switch", "rollout", "allowed", "changed")
    list_display_links = ("flag",)
    list_filter = ("enabled", "kind")
    search_fields = ("key", "description")
    ordering = ("key",)
    # Where the user model cannot be searched in this admin; see get_autocomplete_fields.
    raw_id_fields = ("allowed_users",)
    readonly_fields = ("created_at", "changed_at", "allowed_users_count")
    fieldsets = (
        (None, {"fields": ("key", "enabled", "rollout_percent", "allowed_users")}),
        (
            gettext_lazy("About"),
            {"fields": ("description", "kind", "client_side", "created_at", "changed_at")},
        ),
    )
    formfield_overrides = {
        PositiveSmallIntegerField: {"widget": RolloutInput},
        TextField: {"widget": AdminTextareaWidget(attrs={"rows": 3})},
    }

    class Media:
        css = {"all": ("flagstaff/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureFlag]:
        """All flags, with the length of their allow-list."""
        flags: QuerySet[FeatureFlag] = super().get_queryset(request)
        return flags.annotate(allowed_count=Count("allowed_users"))

    def get_list_display(self, request: HttpRequest) -> Any:
        """The columns; the switch is for those who may use it."""
        columns = super().get_list_display(request)
        may_switch = self.has_change_permission(request)
        return [column for column in columns if may_switch or column != "switch"]

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """The allow-list, where this person can search for users in this admin."""
        user_model = self.model._meta.get_field("allowed_users").related_model
        try:
            user_admin = self.admin_site.get_model_admin(cast("Any", user_model))
        except NotRegistered:
            return ()
        if not user_admin.has_view_permission(request):
            return ()
        return ("allowed_users",) if user_admin.get_search_fields(request) else ()

    def get_fieldsets(self, request: HttpRequest, obj: FeatureFlag | None = None) -> Any:
        """The fields; of an allow-list that is long, or is not to be seen, how many are on it."""
        fieldsets = super().get_fieldsets(request, obj)
        # The page that was shown decides, not the count now: a list that became short while the
        # page was open would be saved as the empty one that a missing field means.
        shown_as_count = _LIST_LEFT_ALONE in request.POST
        if obj is None:
            return fieldsets
        if not self.has_change_permission(request, obj) and not may_see_users(request.user):
            return _in_place_of_the_list(fieldsets, "allowed")
        if shown_as_count or self._is_long(obj):
            return _in_place_of_the_list(fieldsets, "allowed_users_count")
        return fieldsets

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Whether an address may filter by this: by a user, for those who may see users."""
        by_user = lookup.partition(LOOKUP_SEP)[0] == "allowed_users"
        may = may_see_users(request.user) or not by_user
        return may and super().lookup_allowed(lookup, value, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, or what a switch of it asks for."""
        if request.method == "POST" and "_switch" in request.POST:
            return self.by_hand(request, self._switch, request.POST["_switch"])
        return super().changelist_view(request, extra_context)

    def _switch(self, request: HttpRequest, asked: str) -> HttpResponse:
        """Turn one flag on or off. The button says which, so that a second click is no change."""
        word, _colon, pk = asked.partition(":")
        flag = self.get_object(request, pk) if word in _SWITCHES else None
        if not self.has_change_permission(request, flag):
            raise PermissionDenied
        if flag is None:
            self.message_user(request, _("This flag is not there any more."), messages.ERROR)
        else:
            self._set_enabled(request, flag, enabled=_SWITCHES[word])
        # Where the button was: the search, the filters and the page stay as they are.
        return HttpResponseRedirect(request.get_full_path())

    def _set_enabled(self, request: HttpRequest, flag: FeatureFlag, *, enabled: bool) -> None:
        word = _("on") if enabled else _("off")
        set_enabled = changes.enable if enabled else changes.disable
        if not set_enabled(flag.key).written:
            text = _("The flag “%(key)s” was %(word)s already.") % {"key": flag.key, "word": word}
            self.message_user(request, text, messages.WARNING)
            return
        text = _("The flag “%(key)s” is %(word)s now.") % {"key": flag.key, "word": word}
        self.log_change(request, flag, text)
        self.message_user(request, text, messages.SUCCESS)

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, flag: FeatureFlag) -> SafeString:
        """The key, and below it what the flag is for."""
        return format_html(
            '<span class="flagstaff-key">{}</span><span class="flagstaff-about">{}</span>',
            flag.key,
            Truncator(flag.description).chars(_MOST_SHOWN),
        )

    @admin.display(description=gettext_lazy("state"), ordering="enabled")
    def state(self, flag: FeatureFlag) -> SafeString:
        """One word for switch, rollout and allow-list together."""
        kind, text = _state(flag)
        return format_html('<span class="flagstaff-state flagstaff-{}">{}</span>', kind, text)

    @admin.display(description=gettext_lazy("switch"))
    def switch(self, flag: FeatureFlag) -> SafeString:
        """A button that turns the flag on or off; it is part of the list's form."""
        word, label = ("off", _("Turn off")) if flag.enabled else ("on", _("Turn on"))
        return format_html(
            '<button type="submit" class="button flagstaff-button" name="_switch" '
            'value="{}:{}" aria-label="{} {}">{}</button>',
            word,
            flag.pk,
            label,
            flag.key,
            label,
        )

    @admin.display(description=gettext_lazy("rollout"), ordering="rollout_percent")
    def rollout(self, flag: FeatureFlag) -> SafeString:
        """The rollout as a number and a bar."""
        return bar(flag.rollout_percent, serves=flag.enabled)

    @admin.display(description=gettext_lazy("allowed"), ordering="allowed_count")
    def allowed(self, flag: FeatureFlag) -> str:
        """How many users have the flag whatever the rollout is."""
        count: int = flag.allowed_count  # type: ignore[attr-defined]
        return f"{count:,}" if count else ""

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, flag: FeatureFlag) -> SafeString:
        """How long ago; the moment itself is in the tooltip."""
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            flag.changed_at.isoformat(),
            date_format(timezone.localtime(flag.changed_at), "DATETIME_FORMAT"),
            _ago(flag.changed_at),
        )

    @admin.display(description=gettext_lazy("allowed users"))
    def allowed_users_count(self, flag: FeatureFlag) -> SafeString:
        """What stands in the place of an allow-list that is too long for a form."""
        text = _("%(count)s users. A list this long is changed in code: flag.allowed_users.add(…)")
        count = f"{flag.allowed_users.count():,}"
        return format_html(
            '{}<input type="hidden" name="{}" value="1">', text % {"count": count}, _LIST_LEFT_ALONE
        )

    def _is_long(self, flag: FeatureFlag) -> bool:
        return flag.allowed_users.count() > _MOST_EDITABLE_USERS


def _in_place_of_the_list(fieldsets: Any, field: str) -> Any:
    (name, options), *rest = fieldsets
    fields = [*cast("tuple[str, ...]", options["fields"])[:-1], field]
    return ((name, {**options, "fields": fields}), *rest)


def _ago(moment: datetime) -> str:
    if timezone.now() - moment < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, depth=1)}


def _state(flag: FeatureFlag) -> tuple[str, str]:
    allowed: int = flag.allowed_count  # type: ignore[attr-defined]
    percent = flag.rollout_percent
    state = state_of(enabled=flag.enabled, rollout_percent=percent, allowed=allowed)
    return _LOOKS[state], state_label(state, percent)

"""Flags in the admin: what state each is in, on and off from the list, the ramp on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Field, QuerySet
from django.forms import Field as FormField
from django.forms import NumberInput
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.models import FeatureFlag

__all__ = ["FeatureFlagAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[FeatureFlag]
else:
    _ModelAdmin = admin.ModelAdmin

# More than these make a page that is slow to open and easy to break.
_MOST_EDITABLE_USERS = 500

_SWITCHES = {"on": True, "off": False}


class RolloutInput(NumberInput):
    """A number with the steps of a usual ramp beside it."""

    template_name = "flagstaff/rollout_input.html"

    class Media:
        css = {"all": ("flagstaff/admin.css",)}
        js = ("flagstaff/rollout.js",)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the steps."""
        context = super().get_context(name, value, {"min": 0, "max": 100, **(attrs or {})})
        return {**context, "steps": (0, 1, 5, 25, 50, 100)}


class FeatureFlagAdmin(_ModelAdmin):
    """Flags: a word for the state, a bar for the rollout, a button for the switch."""

    list_display = ("flag", "state", "rollout", "allowed", "changed_at", "switch")
    list_display_links = ("flag",)
    list_filter = ("enabled", "kind")
    search_fields = ("key", "description")
    ordering = ("key",)
    # Where the user model cannot be searched in this admin; see get_autocomplete_fields.
    raw_id_fields = ("allowed_users",)
    readonly_fields = ("created_at", "changed_at", "allowed_users_count")
    fieldsets = (
        (None, {"fields": ("key", "enabled", "rollout_percent", "allowed_users")}),
        (gettext_lazy("About"), {"fields": ("description", "kind", "created_at", "changed_at")}),
    )

    class Media:
        css = {"all": ("flagstaff/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureFlag]:
        """All flags, with the length of their allow-list."""
        return super().get_queryset(request).annotate(allowed_count=Count("allowed_users"))

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """The allow-list, where this admin can search for users."""
        user_model = FeatureFlag._meta.get_field("allowed_users").related_model
        try:
            user_admin = self.admin_site.get_model_admin(cast("Any", user_model))
        except NotRegistered:
            return ()
        return ("allowed_users",) if user_admin.get_search_fields(request) else ()

    def get_fieldsets(self, request: HttpRequest, obj: FeatureFlag | None = None) -> Any:
        """The fields, with the count of a long allow-list in the place of the list itself."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or obj.allowed_users.count() <= _MOST_EDITABLE_USERS:
            return fieldsets
        (name, options), *rest = fieldsets
        fields = [*cast("tuple[str, ...]", options["fields"])[:-1], "allowed_users_count"]
        return ((name, {**options, "fields": fields}), *rest)

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> FormField | None:
        """The form's field; the rollout's has the steps of a ramp."""
        if db_field.name == "rollout_percent":
            kwargs["widget"] = RolloutInput
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, or what a switch of it asks for."""
        if request.method == "POST" and "_switch" in request.POST:
            return self._switch(request, request.POST["_switch"])
        return super().changelist_view(request, extra_context)

    def _switch(self, request: HttpRequest, asked: str) -> HttpResponse:
        """Turn one flag on or off. The button says to which state, so a second click is no change."""
        word, _colon, pk = asked.partition(":")
        flag = self.get_object(request, pk)
        back = HttpResponseRedirect(request.get_full_path())
        if flag is None or word not in _SWITCHES:
            self.message_user(request, _("This flag is not there any more."), messages.ERROR)
            return back
        if not self.has_change_permission(request, flag):
            raise PermissionDenied
        self._set_enabled(request, flag, enabled=_SWITCHES[word])
        return back

    def _set_enabled(self, request: HttpRequest, flag: FeatureFlag, *, enabled: bool) -> None:
        unlike = FeatureFlag.objects.filter(pk=flag.pk, enabled=not enabled)
        word = _("on") if enabled else _("off")
        if not unlike.update(enabled=enabled, changed_at=timezone.now()):
            text = _("%(key)s was %(word)s already.") % {"key": flag.key, "word": word}
            self.message_user(request, text, messages.WARNING)
            return
        text = _("%(key)s is %(word)s now.") % {"key": flag.key, "word": word}
        self.log_change(request, flag, text)
        self.message_user(request, text, messages.SUCCESS)

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, flag: FeatureFlag) -> SafeString:
        """The key, and below it what the flag is for."""
        return format_html(
            '<span class="flagstaff-key">{}</span><span class="flagstaff-about">{}</span>',
            flag.key,
            flag.description,
        )

    @admin.display(description=gettext_lazy("state"), ordering="enabled")
    def state(self, flag: FeatureFlag) -> SafeString:
        """One word for switch, rollout and allow-list together."""
        kind, text = _state(flag)
        return format_html('<span class="flagstaff-state flagstaff-{}">{}</span>', kind, text)

    @admin.display(description=gettext_lazy("rollout"), ordering="rollout_percent")
    def rollout(self, flag: FeatureFlag) -> SafeString:
        """The rollout as a bar and a number."""
        return format_html(
            '<progress class="flagstaff-bar" max="100" value="{0}"></progress> {0} %',
            flag.rollout_percent,
        )

    @admin.display(description=gettext_lazy("allowed"), ordering="allowed_count")
    def allowed(self, flag: FeatureFlag) -> int:
        """How many users have the flag whatever the rollout is."""
        return cast("int", flag.allowed_count)  # type: ignore[attr-defined]

    @admin.display(description="")
    def switch(self, flag: FeatureFlag) -> SafeString:
        """A button that turns the flag on or off; it is part of the list's form."""
        word, label = ("off", _("Turn off")) if flag.enabled else ("on", _("Turn on"))
        return format_html(
            '<button type="submit" class="button flagstaff-switch" name="_switch" '
            'value="{}:{}" aria-label="{} {}">{}</button>',
            word,
            flag.pk,
            label,
            flag.key,
            label,
        )

    @admin.display(description=gettext_lazy("allowed users"))
    def allowed_users_count(self, flag: FeatureFlag) -> str:
        """What stands in the place of an allow-list that is too long for a form."""
        count = flag.allowed_users.count()
        return _("%(count)s users, too many to edit here") % {"count": f"{count:,}"}


def _state(flag: FeatureFlag) -> tuple[str, str]:
    allowed: int = flag.allowed_count  # type: ignore[attr-defined]
    if not flag.enabled:
        return "off", _("off")
    if flag.rollout_percent >= 100:  # noqa: PLR2004
        return "on", _("on for all")
    if flag.rollout_percent > 0:
        return "part", _("ramping %(percent)s %%") % {"percent": flag.rollout_percent}
    if allowed:
        return "part", _("allow-list only")
    return "none", _("on, but for nobody")

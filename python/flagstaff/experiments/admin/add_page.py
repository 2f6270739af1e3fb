"""The page that creates an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.message import localized
from flagstaff.admin.flag.form.bucket_unit import UnitInput
from flagstaff.admin.json_fields import RulesField, as_json_area
from flagstaff.admin.links import page_url
from flagstaff.admin.views import MAX_REASON_LENGTH, REASON
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
from flagstaff.experiments import lifecycle, metric_settings
from flagstaff.experiments.admin.metrics_form import AREA, MetricsForm, lines_of
from flagstaff.experiments.conditions import require_valid
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.variants import Variant, valid_variants
from flagstaff.validators import (
    KEY_MAX_LENGTH,
    MAX_PERCENT,
    UNIT_MAX_LENGTH,
    unit_problem,
    validate_flag_key,
)

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Experiment]
else:
    _ModelAdmin = object


class AddPageMixin(_ModelAdmin):
    """Put it before the mixin of the page of an experiment."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form of a new experiment, or the page of an existing one."""
        if object_id is not None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = _ExperimentForm(request.POST if request.method == "POST" else None)
        experiment = _create(form) if form.is_valid() else None
        if experiment is None:
            return self._form_page(request, form)
        text = _("The experiment “%(key)s” was created. It has not started.")
        text %= {"key": experiment.key}
        self.log_change(request, experiment, text)
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self._url_after(request, experiment))

    def _url_after(self, request: HttpRequest, experiment: Experiment) -> str:
        """Returns the page of the experiment, or the list for users who may not see it."""
        if self.has_view_permission(request, experiment):
            return page_url(self.admin_site, self.model, "change", experiment.pk)
        return page_url(self.admin_site, self.model, "add")

    def _form_page(self, request: HttpRequest, form: _ExperimentForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add experiment"),
            "opts": self.opts,
            "media": self.media,
            "add": True,
            "has_view_permission": self.has_view_permission(request),
            "form": form,
            "errors": form.is_bound and not form.is_valid(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/experiments/add.html", context)


def _create(form: _ExperimentForm) -> Experiment | None:
    """Creates the experiment with its metrics; None with an error of the form if that fails."""
    given = form.cleaned_data
    try:
        with transaction.atomic(using=conf.database):
            experiment = lifecycle.create(
                given["key"],
                given["variants"],
                traffic_percent=given["traffic_percent"],
                bucket_by=given["bucket_by"],
                rules=given["rules"],
                description=given["description"],
                owner=given["owner"],
            )
            return metric_settings.set_metrics(experiment.key, **form.metrics())
    except ExperimentError as error:
        form.add_error(None, _form_error(error))
    return None


def _form_error(error: ExperimentError) -> ValidationError:
    return ValidationError(localized(error.message), code=error.code)


# The form of a new experiment.

_TEXT = {"class": "vTextField"}
_MAX_OWNER = 100
_RULES_EXAMPLE = (
    '[{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}], '
    '"rollout_percent": 100}]'
)


class _ExperimentForm(MetricsForm):
    """A new experiment."""

    key = forms.CharField(
        label=gettext_lazy("Key"),
        max_length=KEY_MAX_LENGTH,
        strip=False,
        validators=[validate_flag_key],
        widget=forms.TextInput({**_TEXT, "autocomplete": "off"}),
    )
    description = forms.CharField(
        label=gettext_lazy("Description"),
        required=False,
        widget=forms.Textarea({**AREA, "rows": 3}),
        help_text=gettext_lazy("What is asked."),
    )
    owner = forms.CharField(
        label=gettext_lazy("Owner"),
        required=False,
        max_length=_MAX_OWNER,
        widget=forms.TextInput(_TEXT),
    )
    variants = forms.CharField(
        label=gettext_lazy("Variants"),
        initial="control\ntreatment",
        widget=forms.Textarea({**AREA, "class": "vLargeTextField flagstaff-json"}),
        help_text=gettext_lazy(
            "One per line, the control first. A weight after a colon, such as treatment:3, gives "
            "a variant three times as many units."
        ),
    )
    traffic_percent = forms.IntegerField(
        label=gettext_lazy("Traffic in percent"),
        min_value=0,
        max_value=MAX_PERCENT,
        initial=MAX_PERCENT,
        help_text=gettext_lazy("The share of all units that take part."),
    )
    bucket_by = forms.CharField(
        label=gettext_lazy("Bucket by"),
        initial="user",
        max_length=UNIT_MAX_LENGTH,
        help_text=gettext_lazy("What gets a variant: “user”, “visitor” or an attribute."),
    )
    rules = RulesField(
        label=gettext_lazy("Rules"),
        required=False,
        help_text=gettext_lazy(
            "Who takes part. The first rule that matches decides: rollout_percent 100 includes, 0 "
            "excludes. Without rules everyone takes part."
        ),
    )
    field_order = ("key", "description", "owner", "variants", "traffic_percent", "bucket_by")

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fields["bucket_by"].widget = UnitInput(_TEXT)
        rules = as_json_area(self.fields["rules"], 4, "flagstaff-lines")
        rules.widget.attrs["placeholder"] = _RULES_EXAMPLE
        self.fields[REASON] = forms.CharField(
            label=_("Reason"),
            required=False,
            max_length=MAX_REASON_LENGTH,
            widget=forms.TextInput(_TEXT),
            help_text=_("Shown in the events of the experiment."),
        )

    def fieldsets(self) -> list[tuple[str, list[forms.BoundField]]]:
        """Returns the fields in groups, each with its heading."""
        own = {"key", "description", "owner"}
        groups = {
            "": own,
            _("Who gets what"): {"variants", "traffic_percent", "bucket_by", "rules"},
            _("What is measured"): set(MetricsForm.base_fields),
            _("Reason"): {REASON},
        }
        return [
            (title, [field for field in self if field.name in names])
            for title, names in groups.items()
        ]

    def clean_variants(self) -> list[Variant]:
        """Parses the lines."""
        try:
            return valid_variants(lines_of(self.cleaned_data["variants"]))
        except InvalidExperimentError as error:
            raise _form_error(error) from error

    def clean_bucket_by(self) -> str:
        """Refuses a unit that cannot be used."""
        unit: str = self.cleaned_data["bucket_by"]
        if problem := unit_problem(unit):
            raise ValidationError(problem)
        return unit

    def clean_rules(self) -> Any:
        """Refuses rules that are not valid in an experiment."""
        rules = self.cleaned_data["rules"]
        try:
            require_valid("key", MAX_PERCENT, "user", rules)
        except InvalidExperimentError as error:
            raise _form_error(error) from error
        return rules

"""The form of a new experiment."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.admin.attribution import MAX_REASON_LENGTH, REASON
from flagstaff.admin.bucket_units import UnitInput
from flagstaff.admin.json_fields import RulesField, as_json_area
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.experiments.admin.metrics_form import AREA, MetricsForm, lines_of
from flagstaff.experiments.conditions import require_valid
from flagstaff.experiments.known_texts import EXPERIMENT_TEXTS
from flagstaff.experiments.variants import Variant, valid_variants
from flagstaff.validators import (
    KEY_MAX_LENGTH,
    MAX_PERCENT,
    UNIT_MAX_LENGTH,
    unit_problem,
    validate_flag_key,
)

__all__ = ["ExperimentForm"]

_TEXT = {"class": "vTextField"}
_MAX_OWNER = 100
_RULES_EXAMPLE = (
    '[{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}], '
    '"rollout_percent": 100}]'
)


class ExperimentForm(MetricsForm):
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
            raise ValidationError(EXPERIMENT_TEXTS.translate(str(error))) from error

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
            raise ValidationError(EXPERIMENT_TEXTS.translate(str(error))) from error
        return rules

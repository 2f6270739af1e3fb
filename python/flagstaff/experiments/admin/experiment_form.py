"""The form of an experiment that has not started."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.text import localized
from flagstaff.admin.rules.editor import RulesField
from flagstaff.admin.rules.offers import Offer
from flagstaff.admin.unit_input import UnitInput
from flagstaff.admin.views import MAX_REASON_LENGTH, REASON, reason_required
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
from flagstaff.experiments.admin.metrics_form import MetricsForm
from flagstaff.experiments.conditions import require_possible, require_valid
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json, variants_of
from flagstaff.validators import (
    KEY_MAX_LENGTH,
    MAX_PERCENT,
    UNIT_MAX_LENGTH,
    unit_problem,
    validate_flag_key,
)

_TEXT = {"class": "vTextField"}
_AREA = {"class": "vLargeTextField", "rows": 2}
_MAX_OWNER = 100
_RULES_HELP = gettext_lazy(
    "With rules, only units that match one take part. The first rule that matches decides: "
    "100 % includes, 0 % excludes."
)
# What is read before the rest, by heading, and what most experiments leave as it is.
_SEEN = {
    "": ("key", "description", "variants", "bucket_by"),
    gettext_lazy("Who takes part"): ("rules",),
    gettext_lazy("What is measured"): ("primary_metric", "other_metrics", "guardrails"),
    gettext_lazy("How long it takes"): ("smallest_effect", "planned_units"),
}
_FOLDED = ("owner", "traffic_percent", "method", "min_days", "min_units")


class ExperimentForm(MetricsForm):
    """A new experiment, or a draft that is edited. Its key stays."""

    key = forms.CharField(
        label=gettext_lazy("Key"),
        max_length=KEY_MAX_LENGTH,
        strip=False,
        validators=[validate_flag_key],
        widget=forms.TextInput({**_TEXT, "autocomplete": "off"}),
        help_text=gettext_lazy("The name in the code. It cannot change."),
    )
    description = forms.CharField(
        label=gettext_lazy("Description"),
        required=False,
        widget=forms.Textarea(_AREA),
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
        widget=forms.Textarea({**_AREA, "rows": 3, "class": "vLargeTextField flagstaff-json"}),
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
        label=gettext_lazy("Bucketing unit"),
        initial="user",
        max_length=UNIT_MAX_LENGTH,
        widget=UnitInput(_TEXT),
        help_text=gettext_lazy("What gets a variant: “user”, “visitor” or an attribute."),
    )

    def __init__(
        self,
        data: Any = None,
        *,
        request: HttpRequest,
        site: AdminSite,
        experiment: Experiment | None = None,
    ) -> None:
        initial = {} if experiment is None else _initial(experiment)
        super().__init__(data, experiment=experiment, initial=initial)
        self.fields["rules"] = RulesField(
            Offer(site, request),
            # They say who takes part, so there is no rollout beside them.
            no_rules=_("No rules: all units take part."),
            label=_("Rules"),
            required=False,
            help_text=_RULES_HELP,
        )
        self.fields[REASON] = forms.CharField(
            label=_("Reason"),
            # There is no other page that asks for it.
            required=conf.require_reason,
            error_messages={"required": reason_required()},
            max_length=MAX_REASON_LENGTH,
            widget=forms.TextInput(_TEXT),
            help_text=_("Shown in the events of the experiment."),
        )
        if experiment is not None:
            del self.fields["key"]

    def sections(self) -> list[tuple[str, list[forms.BoundField]]]:
        """Returns the fields that are seen, with their headings."""
        return [(str(title), self._present(names)) for title, names in _SEEN.items()]

    def folded(self) -> list[forms.BoundField]:
        """Returns the fields that most experiments leave as they are."""
        return self._present(_FOLDED)

    def has_folded_errors(self) -> bool:
        """Whether one of them must be corrected."""
        return not self.errors.keys().isdisjoint(_FOLDED)

    def reason(self) -> forms.BoundField:
        """Returns the last field. A template cannot read a name that begins with "_"."""
        return self[REASON]

    def _present(self, names: tuple[str, ...]) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    def clean_variants(self) -> list[Variant]:
        """Parses the lines."""
        lines = (line.strip() for line in self.cleaned_data["variants"].splitlines())
        try:
            return valid_variants(filter(None, lines))
        except InvalidExperimentError as error:
            raise form_error(error) from error

    def clean_bucket_by(self) -> str:
        """Refuses a unit that cannot be used."""
        unit: str = self.cleaned_data["bucket_by"]
        if problem := unit_problem(unit):
            raise ValidationError(problem)
        return unit

    def clean_rules(self) -> Any:
        """Refuses rules that are not valid in an experiment, or that can never match."""
        rules = self.cleaned_data["rules"]
        try:
            require_valid("key", MAX_PERCENT, "user", rules)
            require_possible(rules, self.initial.get("rules"))
        except InvalidExperimentError as error:
            raise form_error(error) from error
        return rules

    def settings(self) -> dict[str, Any]:
        """Returns the arguments of `create` and `edit` that `metrics` has not, but for the key."""
        names = ("variants", "traffic_percent", "bucket_by", "rules", "description", "owner")
        return {name: self.cleaned_data[name] for name in names}

    def draft(self) -> Experiment:
        """Returns an unsaved experiment with what is valid, for an estimate."""
        given = self.cleaned_data
        names = ("primary_metric", "planned_units", "min_days", "method", "bucket_by")
        found = {name: given[name] for name in (*names, "traffic_percent") if name in given}
        variants = variants_as_json(given.get("variants", ()))
        return Experiment(variants=variants, smallest_effect=self.effect(), **found)


def form_error(error: ExperimentError) -> ValidationError:
    """Returns the error of a form, in the language of the request."""
    return ValidationError(localized(error.message))


def _initial(experiment: Experiment) -> dict[str, Any]:
    variants = [
        variant.key if variant.weight == 1 else f"{variant.key}:{variant.weight}"
        for variant in variants_of(experiment.variants)
    ]
    return {
        "description": experiment.description,
        "owner": experiment.owner,
        "variants": "\n".join(variants),
        "traffic_percent": experiment.traffic_percent,
        "bucket_by": experiment.bucket_by,
        "rules": experiment.rules,
    }

"""The forms of the confirmation pages: weights, a forced unit, and the variant to ship."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._core import MAX_UNIT_BYTES
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.variants import MAX_WEIGHT, variants_of
from flagstaff.validators import MAX_PERCENT


class WeightsForm(forms.Form):
    """A number for each variant, and the share of units that take part."""

    traffic_percent = forms.IntegerField(
        label=gettext_lazy("Traffic in percent"),
        min_value=0,
        max_value=MAX_PERCENT,
        help_text=gettext_lazy("The share of all units that take part."),
    )

    def __init__(self, data: Any = None, *, experiment: Experiment) -> None:
        super().__init__(data, initial={"traffic_percent": experiment.traffic_percent})
        self._variants = variants_of(experiment.variants)
        for number, variant in enumerate(self._variants):
            self.fields[f"weight_{number}"] = forms.IntegerField(
                label=_("Weight of %(variant)s") % {"variant": variant.key},
                min_value=0,
                max_value=MAX_WEIGHT,
                initial=variant.weight,
            )
        self.order_fields([name for name in self.fields if name != "traffic_percent"])

    def weights(self) -> dict[str, int]:
        """Returns the weights by variant."""
        return {
            variant.key: self.cleaned_data[f"weight_{number}"]
            for number, variant in enumerate(self._variants)
        }


class ForceForm(forms.Form):
    """A unit, and the variant that it gets."""

    unit = forms.CharField(
        label=gettext_lazy("Unit"),
        max_length=MAX_UNIT_BYTES,
        widget=forms.TextInput({"class": "vTextField", "autocomplete": "off"}),
        help_text=gettext_lazy("Such as the primary key of a user."),
    )
    variant = forms.ChoiceField(label=gettext_lazy("Variant"), required=False)

    def __init__(self, data: Any = None, *, experiment: Experiment) -> None:
        super().__init__(data)
        keys = [variant.key for variant in variants_of(experiment.variants)]
        field = self.fields["variant"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [*((key, key) for key in keys), ("", _("what its bucket says"))]
            field.initial = keys[-1]


class ShipForm(forms.Form):
    """The variant that everyone gets, with what its verdict is."""

    # A missing choice is an error at the field, which stays readable.
    use_required_attribute = False

    winner = forms.ChoiceField(label=gettext_lazy("Everyone gets"), widget=forms.RadioSelect)
    without_report = forms.BooleanField(
        label=gettext_lazy("Ship without the report"),
        required=False,
        help_text=gettext_lazy("A metric fails, so the report cannot be kept."),
    )

    def __init__(
        self, data: Any = None, *, experiment: Experiment, verdicts: dict[str, str], fails: bool
    ) -> None:
        super().__init__(data)
        field = self.fields["winner"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [
                (variant.key, _winner_text(variant.key, verdicts.get(variant.key)))
                for variant in variants_of(experiment.variants)
                if variant.key != experiment.winner
            ]
        if not fails:
            del self.fields["without_report"]


def _winner_text(variant: str, verdict: str | None) -> str:
    return variant if verdict is None else f"{variant} \N{EN DASH} {verdict}"

"""The buttons on the page of an experiment: what each one asks, what it changes, and its form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._core import MAX_UNIT_BYTES
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.changes.changed import quoted_command
from flagstaff.experiments import assigning, lifecycle, metric_settings
from flagstaff.experiments.admin.headline import outcome_text
from flagstaff.experiments.admin.metrics_form import MetricsForm
from flagstaff.experiments.admin.reading import read_report
from flagstaff.experiments.admin.tables import shares_text
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.statistics import Outcome
from flagstaff.experiments.variants import MAX_WEIGHT, variants_of
from flagstaff.validators import MAX_PERCENT


@dataclass(frozen=True)
class Confirmation:
    """What the confirmation page shows besides the question."""

    rows: list[PreviewRow]
    form: forms.Form | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Button:
    """A button. `confirm` makes its confirmation page from what was posted, or from None."""

    #: The value of the button, such as "start".
    name: str
    label: str | Promise
    question: str | Promise
    confirm: Callable[[Experiment, Any], Confirmation]
    #: Changes the experiment, with the valid form of the page.
    run: Callable[[str, Any], Experiment]
    #: The message afterwards, and another one with more to do.
    done: str | Promise
    then: Callable[[str], str] | None = None


def buttons_of(experiment: Experiment) -> tuple[Button, ...]:
    """Returns the buttons that the state of an experiment allows."""
    state = State(experiment.state)
    if state is State.DRAFT:
        return (_START, _WEIGHTS, _METRICS, _FORCE)
    if state is State.RUNNING:
        return (STOP, _SHIP, _WEIGHTS, _SHUFFLE, _METRICS, _FORCE)
    if state is State.STOPPED:
        # Without its exposures, an experiment cannot continue.
        start = () if experiment.frozen_report is not None else (_CONTINUE,)
        return (*start, _SHIP, _WEIGHTS, _SHUFFLE, _METRICS)
    return ()


def _state_row(experiment: Experiment, after: State) -> PreviewRow:
    return PreviewRow(_("state"), str(State(experiment.state).label), str(after.label))


def _present(experiment: Experiment) -> str:
    """Returns who gets what now."""
    if experiment.state == State.RUNNING:
        return shares_text(experiment)
    return _("every call gets its default")


def _ask_start(experiment: Experiment, _data: Any) -> Confirmation:
    rows = [
        _state_row(experiment, State.RUNNING),
        PreviewRow(_("who gets what"), _present(experiment), shares_text(experiment)),
    ]
    warnings = []
    if not experiment.primary_metric:
        warnings.append(
            _("There is no primary metric, so there will be no verdict. It can be added later.")
        )
    return Confirmation(rows, warnings=tuple(warnings))


def _ask_stop(experiment: Experiment, _data: Any) -> Confirmation:
    after = _("every call gets its default")
    return Confirmation(
        [
            _state_row(experiment, State.STOPPED),
            PreviewRow(_("who gets what"), shares_text(experiment), after),
        ]
    )


def _ask_shuffle(experiment: Experiment, _data: Any) -> Confirmation:
    text = _("shuffle %(number)s")
    numbers = (experiment.shuffle, experiment.shuffle + 1)
    return Confirmation(
        [PreviewRow(_("buckets"), *(text % {"number": number} for number in numbers))]
    )


def _ask_ship(experiment: Experiment, data: Any) -> Confirmation:
    report, error = read_report(experiment)
    verdicts = report["verdicts"] if report is not None else []
    texts = {verdict["treatment"]: outcome_text(verdict["outcome"]) for verdict in verdicts}
    form = _ShipForm(data, experiment=experiment, verdicts=texts, fails=bool(error))
    rows = [
        _state_row(experiment, State.SHIPPED),
        PreviewRow(_("who gets what"), _present(experiment), _("everyone gets the same variant")),
    ]
    warnings = []
    if error:
        warnings.append(_("A metric cannot be read: %(error)s") % {"error": localized(error)})
    if not any(verdict["outcome"] == Outcome.BETTER.value for verdict in verdicts):
        warnings.append(
            _("No treatment has been shown to be better, so this is not a decision by the figures.")
        )
    return Confirmation(rows, form, tuple(warnings))


def _ask_weights(experiment: Experiment, data: Any) -> Confirmation:
    return Confirmation([], _WeightsForm(data, experiment=experiment))


def _ask_metrics(experiment: Experiment, data: Any) -> Confirmation:
    return Confirmation([], MetricsForm(data, experiment=experiment))


def _ask_force(experiment: Experiment, data: Any) -> Confirmation:
    return Confirmation([], _ForceForm(data, experiment=experiment))


def _ship(key: str, form: _ShipForm) -> Experiment:
    given: Mapping[str, Any] = form.cleaned_data
    with_report = not given.get("without_report", False)
    return lifecycle.ship(key, given["winner"], with_report=with_report)


def _set_weights(key: str, form: _WeightsForm) -> Experiment:
    traffic = form.cleaned_data["traffic_percent"]
    return assigning.set_weights(key, form.weights(), traffic_percent=traffic)


def _set_metrics(key: str, form: MetricsForm) -> Experiment:
    return metric_settings.set_metrics(key, **form.metrics())


def _force(key: str, form: _ForceForm) -> Experiment:
    return assigning.force(key, form.cleaned_data["unit"], form.cleaned_data["variant"] or None)


def _remove_text(key: str) -> str:
    text = _("Now remove the experiment from the code. This lists where it is: %(command)s")
    return text % {"command": quoted_command("references", key).strip('"')}


_START = Button(
    "start",
    gettext_lazy("Start"),
    gettext_lazy(
        "Start “%(key)s”? From now on, each unit that meets it gets a variant and is recorded. The "
        "primary metric, the planned units and the method cannot change after that."
    ),
    _ask_start,
    lambda key, _form: lifecycle.start(key),
    gettext_lazy("The experiment “%(key)s” has started."),
)
_CONTINUE = Button(
    "start",
    gettext_lazy("Continue"),
    gettext_lazy("Continue “%(key)s”? A new phase begins, with the same buckets."),
    _ask_start,
    lambda key, _form: lifecycle.start(key),
    gettext_lazy("The experiment “%(key)s” continues."),
)
#: It works whatever has changed since the page was opened.
STOP = Button(
    "stop",
    gettext_lazy("Stop"),
    gettext_lazy(
        "Stop “%(key)s”? Every call gets its default at once, and no exposure is recorded. It can "
        "be continued later."
    ),
    _ask_stop,
    lambda key, _form: lifecycle.stop(key),
    gettext_lazy("The experiment “%(key)s” was stopped: every call gets its default."),
)
_SHIP = Button(
    "ship",
    gettext_lazy("Ship a variant"),
    gettext_lazy(
        "Ship a variant of “%(key)s”? Everyone gets it from now on, and the report is kept as it "
        "is. This cannot be undone."
    ),
    _ask_ship,
    _ship,
    gettext_lazy("The experiment “%(key)s” was shipped: everyone gets the same variant."),
    _remove_text,
)
_WEIGHTS = Button(
    "weights",
    gettext_lazy("Change weights"),
    gettext_lazy(
        "Change the weights of “%(key)s”? While it runs, this begins a phase: the report compares "
        "variants only within a phase. No more units than necessary get another variant; those "
        "of them that have met one before are left out."
    ),
    _ask_weights,
    _set_weights,
    gettext_lazy("The weights of “%(key)s” were saved."),
)
_SHUFFLE = Button(
    "shuffle",
    gettext_lazy("Shuffle"),
    gettext_lazy(
        "Shuffle “%(key)s”? All units get other buckets, and many another variant. The exposures "
        "so far are no longer reported. This cannot be undone."
    ),
    _ask_shuffle,
    lambda key, _form: assigning.shuffle(key),
    gettext_lazy("The experiment “%(key)s” was shuffled: its report starts again."),
)
_METRICS = Button(
    "metrics",
    gettext_lazy("Change metrics"),
    gettext_lazy("What does “%(key)s” measure, and when is there a verdict?"),
    _ask_metrics,
    _set_metrics,
    gettext_lazy("The metrics of “%(key)s” were saved."),
)
_FORCE = Button(
    "force",
    gettext_lazy("Force a unit"),
    gettext_lazy(
        "Give a unit a variant of “%(key)s”, such as for a test? The unit is not recorded while it "
        "is forced."
    ),
    _ask_force,
    _force,
    gettext_lazy("The forced units of “%(key)s” were saved."),
)


# The forms of the confirmation pages: weights, a forced unit, and the variant to ship.


class _WeightsForm(forms.Form):
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


class _ForceForm(forms.Form):
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


class _ShipForm(forms.Form):
    """The variant that everyone gets, with what its verdict is."""

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
            ]
        if not fails:
            del self.fields["without_report"]


def _winner_text(variant: str, verdict: str | None) -> str:
    return variant if verdict is None else f"{variant} \N{EN DASH} {verdict}"

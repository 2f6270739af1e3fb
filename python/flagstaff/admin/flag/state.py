"""The state of a flag in the admin: its label, its sentence, and what a change means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from django.db.models import (
    Case,
    Count,
    ManyToManyField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.db.models.lookups import IsNull
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._engine import forced_off
from flagstaff._tables.bucket_units import USER
from flagstaff._tables.flag_states import (
    ALL_USERS,
    FlagState,
    state_label,
    state_of,
    state_summary,
)
from flagstaff._tables.model_fields import through_model
from flagstaff._tables.rows import all_rows
from flagstaff._words.text import localized
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.words import COLOURS
from flagstaff.changes.allowed_users import ALLOWED, count_allowed_users
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import Effect, Impact, Key, RowState
from flagstaff.conf import conf
from flagstaff.models import FeatureFlag

#: The number of allowed users, as an attribute of the flags of the list.
ALLOWED_COUNT = "allowed_count"


def with_allowed_count(flags: QuerySet[Any]) -> QuerySet[Any]:
    """Returns the flags with the number of their allowed users, as ALLOWED_COUNT."""
    # Not a join, which a query that counts the flags would make, too.
    links, flag = _links_of_flag(flags.model)
    number = links.order_by().values(flag).annotate(number=Count("pk")).values("number")
    counted: QuerySet[Any] = flags.annotate(**{ALLOWED_COUNT: Coalesce(Subquery(number), 0)})
    return counted


def count_missing(flags: Sequence[Any]) -> None:
    """Counts the allowed users of flags of which they were not read. No query if all were."""
    missing = {flag.pk: flag for flag in flags if not hasattr(flag, ALLOWED_COUNT)}
    if not missing:
        return
    rows = with_allowed_count(all_rows(conf.flag_model)).filter(pk__in=missing).order_by()
    counts = dict(rows.values_list("pk", ALLOWED_COUNT))
    for pk, flag in missing.items():
        # Without a number, the flag was deleted meanwhile.
        setattr(flag, ALLOWED_COUNT, counts.get(pk, 0))


def only_allowed_users(model: type[Model]) -> Case:
    """Returns whether a flag has allowed users; False if they do not decide about its state."""
    links, _flag = _links_of_flag(model)
    # A subquery of one row: the server would read all links for EXISTS.
    first = IsNull(Subquery(links.values("pk")[:1]), False)  # noqa: FBT003
    at_zero = Q(enabled=True, rollout_percent__lte=0, rules=[])
    return Case(When(at_zero, then=first), default=Value(False))  # noqa: FBT003


def _links_of_flag(model: type[Model]) -> tuple[QuerySet[Model], str]:
    """The rows between users and the flag of a query, and the name of their key of the flag."""
    field = cast("ManyToManyField[Model, Model]", model._meta.get_field(ALLOWED))
    name = field.m2m_field_name()
    return through_model(field)._base_manager.filter(**{name: OuterRef("pk")}), name


def class_and_label(flag: FeatureFlag) -> tuple[str, str]:
    """Returns the CSS class and the label of the state of a flag in the list."""
    allowed: int = getattr(flag, ALLOWED_COUNT)
    state = FlagState.of(flag)
    if state.bucket_by != USER:
        # The column of the rollout shows the unit: a phone has no room for both.
        state = replace(state, bucket_by=USER)
    return COLOURS[state_of(state, allowed).value], state_label(state, allowed)


def users_with_flag(found: Impact, key: Key, *, is_one: bool) -> list[PreviewRow]:
    """Returns how many users have a flag before and after a change; of one flag, also which."""
    counted = PreviewRow(_("users with the flag"), *on_texts(found[key]))
    if not is_one:
        return [counted]
    texts = [
        state_summary(FlagState.of(side[key].row), _allowed(side[key])) if key in side else ""
        for side in found.sides
    ]
    return [PreviewRow(_("who has the flag"), *texts), counted]


def on_texts(effect: Effect) -> tuple[str, str]:
    """Returns how many users have a flag before and after, or get another result of a value."""
    before, after = effect.on
    return users_text(effect, before), users_text(effect, after)


def _allowed(state: RowState) -> int:
    given = state.allowed_users
    return count_allowed_users(state.row) if given is None else len(given)


def forced_off_notice(flag: Any) -> str:
    """Returns the sentence that says that this process does not use the row; "" if it does."""
    if flag.key not in forced_off.keys:
        return ""
    return _("Forced off in this process by %(variable)s.") % {"variable": forced_off.VARIABLE}


def holds_users_back(flag: FeatureFlag) -> bool:
    """Whether an enabled flag has a rollout or a rule below 100 %."""
    state = FlagState.of(flag)
    return state.enabled and (state.rollout_percent < ALL_USERS or bool(state.partial_rules))


def partial_rule_notices(state: FlagState) -> list[str]:
    """Returns the sentences about rules that keep users out although the rollout is 100 %."""
    text = _("%(rule)s keeps %(percent)s %% of its users out, also at a rollout of 100 %%.")
    return [
        text % {"rule": capfirst(localized(place)), "percent": ALL_USERS - percent}
        for place, percent in state.partial_rules
    ]

"""The table of the actions that change several flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from django import forms
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy, pgettext, pgettext_lazy

from flagstaff import changes
from flagstaff._tables.flag_states import FlagState, state_label
from flagstaff._tables.model_fields import OWNER, REVIEW_ON, TAGS
from flagstaff._tables.rows import Row
from flagstaff._tables.tags import joined_tags
from flagstaff.actions.rights import Right
from flagstaff.admin.base_admin import SAVE_TIMEOUT
from flagstaff.admin.flag.bulk.forms import (
    AddTagsForm,
    FlagsForm,
    OwnerForm,
    RemoveTagsForm,
    ReviewForm,
)
from flagstaff.admin.flag.state import (
    ALLOWED_COUNT,
    class_and_label,
    forced_off_notice,
)
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import Effect, Impact, impact_of_enabling
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.validators import tags_problem

#: A text that is translated when it is shown.
Text: TypeAlias = Any
#: The validated data of the form.
Data: TypeAlias = Mapping[str, Any]
#: Returns what the page shows of each flag: the headings of the columns, and their texts.
Cells: TypeAlias = Callable[[HttpRequest, Sequence[Any]], Sequence[Mapping[Text, str]]]

#: The field with the path to return to, if it is not the list of flags.
BACK = "_back"
#: In the place of a value.
NONE = "\N{EN DASH}"
# The words of an action that has none of its own.
_QUESTION = ngettext_lazy("This changes %(count)s flag.", "This changes %(count)s flags.", "count")
_DONE = ngettext_lazy(
    "%(count)s flag was changed: %(keys)s.", "%(count)s flags were changed: %(keys)s.", "count"
)
_UNCHANGED = ngettext_lazy(
    "%(count)s flag already had these values: %(keys)s.",
    "%(count)s flags already had these values: %(keys)s.",
    "count",
)
_REFUSED = gettext_lazy("Nothing was changed: you may not change %(keys)s.")


@dataclass(frozen=True)
class BulkAction:
    """An action that changes several flags: its words, its form, and what it writes."""

    #: The value in the list of actions, and its text.
    name: str
    label: Text
    #: The heading of the page, and its button.
    title: Text
    cells: Cells
    #: Writes one flag, whose row is locked.
    write: Callable[[Row, Data], Changed]
    #: What the user must be allowed to do with each flag. The number of flags that are turned on
    #: or off in production is typed.
    permission: Right = "change"
    #: The optional field that the model must have; empty for none.
    field: str = ""
    form: Callable[[Sequence[Any], Any], forms.Form] = FlagsForm
    #: Whether the action changes this flag.
    is_affected: Callable[[Any], object] = lambda _flag: True
    #: Whether the result depends on the state of a flag, so that a newer state is shown first.
    checks_version: bool = False
    is_danger: bool = False
    #: Whether REQUIRE_REASON asks for a reason.
    needs_reason: bool = True
    #: Seconds for which the action waits for the workers.
    timeout: float = SAVE_TIMEOUT
    # With the number of flags, `count`, and some with their `keys`.
    question: Text = _QUESTION
    #: The text of the button; empty for the title.
    button: Text = ""
    done: Text = _DONE
    unchanged: Text = _UNCHANGED
    #: The message if no flag is affected, and the one about flags that the user may not change.
    nothing: Text = ""
    refused: Text = _REFUSED
    #: Returns the text of Django's log of a flag; the changed fields by default.
    log: Callable[[str, Data], str] | None = None


def _off_cells(_request: HttpRequest, flags: Sequence[Any]) -> list[dict[Text, str]]:
    off = pgettext("state of a flag", "off")
    return [
        {
            _("Now"): class_and_label(flag)[1],
            _("After"): off if flag.enabled else _("already off"),
        }
        for flag in flags
    ]


def _on_cells(request: HttpRequest, flags: Sequence[Any]) -> list[dict[Text, str]]:
    """The states, and the users who gain the flag. Counts the users of all flags together."""
    disabled = [flag for flag in flags if not flag.enabled]
    found = impact_of_enabling(disabled, viewer=request.user)
    cells = []
    for flag in flags:
        on = replace(FlagState.of(flag), enabled=True)
        label = state_label(on, getattr(flag, ALLOWED_COUNT))
        after = " · ".join(filter(None, (label, forced_off_notice(flag))))
        cells.append(
            {
                _("Now"): class_and_label(flag)[1],
                _("After"): _("already on") if flag.enabled else after,
                _("Users who gain it"): NONE if flag.enabled else users_text(*_gain(found, flag)),
            }
        )
    return cells


def _gain(found: Impact, flag: Any) -> tuple[Effect, int]:
    effect = found[Kind.FLAG, flag.key]
    return effect, effect.gain


def _column(title: Text, text: Callable[[Any], str]) -> Cells:
    return lambda _request, flags: [{title: text(flag) or NONE} for flag in flags]


_TAGS_COLUMN = _column(pgettext_lazy("column", "Tags"), lambda fields: joined_tags(fields.tags))


def _write_tags(row: Any, change: Callable[[list[str]], Iterable[str]]) -> Changed:
    """Raises InvalidChangeError, also for tags that SQL has written and that would be lost."""
    tags = row.tags
    problem = tags_problem(tags)
    if problem is None:
        tags = list(dict.fromkeys(change(tags)))
        problem = tags_problem(tags)
    if problem:
        raise InvalidChangeError(
            "the tags of “{key}” would not be valid: {problem}", key=row.key, problem=problem
        )
    return changes.flags.update(row.key, {TAGS: tags})


def _add_tags(row: Row, data: Data) -> Changed:
    return _write_tags(row, lambda tags: [*tags, *data[TAGS]])


def _remove_tags(row: Row, data: Data) -> Changed:
    return _write_tags(row, lambda tags: [tag for tag in tags if tag not in data[TAGS]])


#: Also an action of the page of stale flags.
SET_REVIEW_DATE = BulkAction(
    name="set_review_date",
    label=gettext_lazy("Set the review date of selected %(verbose_name_plural)s"),
    title=gettext_lazy("Set the review date"),
    cells=_column(
        gettext_lazy("Review date"),
        lambda fields: date_format(fields.review_on) if fields.review_on else "",
    ),
    write=lambda row, data: changes.flags.update(row.key, {REVIEW_ON: data["until"]}),
    field=REVIEW_ON,
    form=ReviewForm,
)
ACTIONS = (
    BulkAction(
        name="turn_on",
        label=gettext_lazy("Turn on selected %(verbose_name_plural)s"),
        title=gettext_lazy("Turn on flags"),
        cells=_on_cells,
        write=lambda row, _data: changes.flags.enable(row.key),
        permission="toggle",
        is_affected=lambda flag: not flag.enabled,
        checks_version=True,
        question=ngettext_lazy("Turn on %(count)s flag?", "Turn on %(count)s flags?", "count"),
        button=ngettext_lazy("Turn on %(count)s flag", "Turn on %(count)s flags", "count"),
        done=ngettext_lazy(
            "%(count)s flag is now on: %(keys)s.", "%(count)s flags are now on: %(keys)s.", "count"
        ),
        unchanged=ngettext_lazy(
            "%(count)s flag was already on: %(keys)s.",
            "%(count)s flags were already on: %(keys)s.",
            "count",
        ),
        nothing=gettext_lazy("Nothing was changed: all selected flags are already on."),
        refused=gettext_lazy("Nothing was changed: you may not turn on %(keys)s."),
        log=lambda key, _data: _("The flag “%(key)s” is now on.") % {"key": key},
    ),
    BulkAction(
        name="turn_off",
        label=gettext_lazy("Turn off selected %(verbose_name_plural)s"),
        title=gettext_lazy("Turn off flags"),
        cells=_off_cells,
        write=lambda row, _data: changes.flags.disable(row.key),
        permission="toggle",
        is_affected=lambda flag: flag.enabled,
        is_danger=True,
        # Turning flags off never needs a reason, and each worker should have done it.
        needs_reason=False,
        timeout=5.0,
        question=ngettext_lazy("Turn off %(count)s flag?", "Turn off %(count)s flags?", "count"),
        button=ngettext_lazy("Turn off %(count)s flag", "Turn off %(count)s flags", "count"),
        done=ngettext_lazy(
            "%(count)s flag is now off: %(keys)s.",
            "%(count)s flags are now off: %(keys)s.",
            "count",
        ),
        unchanged=ngettext_lazy(
            "%(count)s flag was already off: %(keys)s.",
            "%(count)s flags were already off: %(keys)s.",
            "count",
        ),
        nothing=gettext_lazy("Nothing was changed: all selected flags are already off."),
        refused=gettext_lazy("Nothing was changed: you may not turn off %(keys)s."),
        log=lambda key, _data: _("The flag “%(key)s” is now off.") % {"key": key},
    ),
    BulkAction(
        name="set_owner",
        label=gettext_lazy("Set the owner of selected %(verbose_name_plural)s"),
        title=gettext_lazy("Set the owner"),
        cells=_column(gettext_lazy("Owner"), lambda fields: fields.owner),
        write=lambda row, data: changes.flags.update(row.key, {OWNER: data[OWNER]}),
        field=OWNER,
        form=OwnerForm,
    ),
    BulkAction(
        name="add_tags",
        label=gettext_lazy("Add tags to selected %(verbose_name_plural)s"),
        title=gettext_lazy("Add tags"),
        cells=_TAGS_COLUMN,
        write=_add_tags,
        field=TAGS,
        form=AddTagsForm,
    ),
    BulkAction(
        name="remove_tags",
        label=gettext_lazy("Remove tags from selected %(verbose_name_plural)s"),
        title=gettext_lazy("Remove tags"),
        cells=_TAGS_COLUMN,
        write=_remove_tags,
        field=TAGS,
        form=RemoveTagsForm,
        is_affected=lambda flag: joined_tags(flag.tags),
        nothing=gettext_lazy("Nothing was changed: none of the selected flags has tags."),
    ),
    SET_REVIEW_DATE,
)

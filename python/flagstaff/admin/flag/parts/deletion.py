"""The page before a deletion of flags: evaluations, users who lose them, and what else goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.db.models import ManyToManyField, Model
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import NOT_USED, RecentUsage, recent_usage
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.model_fields import through_model
from flagstaff._words.text import local_list, local_number, quoted
from flagstaff._words.times import local_days, local_time_text
from flagstaff.admin.deletion import Deletion
from flagstaff.admin.flag.parts.app_panels import AppTexts, texts_by_flag
from flagstaff.admin.flag.state import ALLOWED_COUNT, class_and_label, count_missing, rules_cell
from flagstaff.admin.page import page_of
from flagstaff.admin.part import Deleted
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import command_line
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.history.kinds import Kind

# The flags whose facts a page shows.
_MAX_FACTS = 20


@dataclass(frozen=True)
class _Usage:
    """The evaluations of the flags of a page; None if they are not known."""

    found: RecentUsage | None


class FlagDeletion(Deletion):
    """The page for flags. A flag in use asks for its key, in every environment."""

    def text_to_type(self, request: HttpRequest, rows: Sequence[Any]) -> str:
        """Also outside production, for a flag that was evaluated or in browsers within a day.

        It is the key of a single flag, or the number of several.
        """
        if typed := super().text_to_type(request, rows):
            return typed
        usage = _usage(request, rows)
        if usage is None or not any(_used_today(usage)):
            return ""
        return str(rows[0].key) if len(rows) == 1 else str(len(rows))

    def about(self, request: HttpRequest, rows: Sequence[Any]) -> Mapping[str, Any]:
        """The evaluations, what each flag has now, and the command that finds the keys."""
        shown, usage = rows[:_MAX_FACTS], _usage(request, rows)
        more = len(rows) - len(shown)
        return {
            "flagstaff_rows": [*zip(shown, self._facts(request, shown, usage), strict=True)],
            "flagstaff_more": local_number(more) if more else "",
            "flagstaff_notes": _in_use(usage) if usage else (),
            "flagstaff_command": _command(shown),
        }

    def _facts(
        self, request: HttpRequest, flags: Sequence[Any], usage: RecentUsage | None
    ) -> list[dict[str, str]]:
        """Without what no flag has. Counts users for a second altogether."""
        count_missing(flags)
        losing, texts = _losing(request, flags), texts_by_flag(self.admin, flags)
        facts = [
            {
                _("state"): class_and_label(flag)[1],
                _("evaluated"): _evaluated(usage, flag.key),
                _("users who lose it"): losing.get(flag.pk, _("none: the flag is off")),
                _("allowed users"): local_number(getattr(flag, ALLOWED_COUNT)),
                _("rules"): rules_cell(FlagState.of(flag)),
                _("notes"): _joined(texts[str(flag.pk)]),
            }
            for flag in flags
        ]
        empty = {label for label in facts[0] if not any(one[label] for one in facts)}
        return [{k: text for k, text in one.items() if k not in empty} for one in facts]

    def deleted_objects(self, request: HttpRequest, rows: Iterable[Any], found: Deleted) -> Deleted:
        """Leaves out the links to allowed users, whose number is one of the facts."""
        _lines, counts, _forbidden, _protected = found
        links = allowed_links(self.admin.model)._meta
        if links.auto_created:
            counts.pop(str(links.verbose_name_plural), None)
        return found


def _command(flags: Sequence[Any]) -> tuple[str, str]:
    """Returns what to run to find the keys in the code."""
    text = ngettext(
        "To find the key in your code, run:", "To find the keys in your code, run:", len(flags)
    )
    return text, command_line("references", *(flag.key for flag in flags))


def allowed_links(model: type[Model]) -> type[Model]:
    """Returns the model of the table between flags and users."""
    return through_model(cast("ManyToManyField[Model, Model]", model._meta.get_field(ALLOWED)))


def _joined(texts: AppTexts) -> str:
    return format_html_join(" · ", "{}", ((one,) for one in (*texts.attention, *texts.notes)))


def _usage(request: HttpRequest, rows: Sequence[Any]) -> RecentUsage | None:
    keys = [flag.key for flag in rows]
    return page_of(request).once(_Usage, lambda: _Usage(recent_usage(keys))).found


def _used_today(usage: RecentUsage) -> tuple[list[str], list[str]]:
    """Returns the keys that were evaluated within a day, and those that were in browsers."""
    evaluated = [key for key, found in usage.today.items() if found.last_evaluated_at]
    return evaluated, [key for key, found in usage.today.items() if found.served_to_browsers_at]


def _in_use(usage: RecentUsage) -> list[str]:
    """Which flags are in use."""
    used, in_browsers = _used_today(usage)
    text = ngettext(
        "The code still evaluates %(keys)s. After the deletion, a call returns its default.",
        "The code still evaluates these flags: %(keys)s. After the deletion, calls return "
        "their defaults.",
        len(used),
    )
    browsers = ngettext(
        "Browsers still receive %(keys)s.",
        "Browsers still receive these flags: %(keys)s.",
        len(in_browsers),
    )
    return [
        text % {"keys": local_list(map(quoted, keys))}
        for text, keys in ((text, used), (browsers, in_browsers))
        if keys
    ]


def _evaluated(usage: RecentUsage | None, key: str) -> str:
    """When and how often a flag was evaluated, and when it was served in bulk."""
    if usage is None:
        return _("not known")
    days = local_days(usage.days)
    found, texts = usage.keys.get(key, NOT_USED), []
    if found.last_evaluated_at:
        text = _(
            "last evaluation: %(time)s; in the last %(days)s: %(count)s, in the last day: "
            "%(recent)s"
        )
        times = {
            "time": local_time_text(found.last_evaluated_at),
            "count": local_number(found.count),
            "recent": local_number(usage.today.get(key, NOT_USED).count),
            "days": days,
        }
        texts.append(text % times)
    if found.served_to_browsers_at:
        text = _("last served to browsers: %(time)s")
        texts.append(text % {"time": local_time_text(found.served_to_browsers_at)})
    if found.served_in_bulk_at and not texts:
        text = _("last served in bulk, which does not say whether the code uses it: %(time)s")
        texts.append(text % {"time": local_time_text(found.served_in_bulk_at)})
    return "; ".join(texts) or _("not in the last %(days)s") % {"days": days}


def _losing(request: HttpRequest, flags: Sequence[Any]) -> dict[object, str]:
    """How many users have each flag that is on, or why they are not counted, by primary key."""
    enabled = [flag for flag in flags if flag.enabled]
    found = impact_of_enabling(enabled, viewer=request.user)
    effects = {flag.pk: found[Kind.FLAG, flag.key] for flag in enabled}
    return {pk: users_text(effect, effect.on[1]) for pk, effect in effects.items()}

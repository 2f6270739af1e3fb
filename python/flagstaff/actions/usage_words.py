"""Whether the code still uses a flag, as a text for a person who is about to delete it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from flagstaff._engine.usage import NOT_USED, RecentUsage
from flagstaff._words.text import local_number
from flagstaff._words.times import local_days, local_time_text


def evaluated_text(usage: RecentUsage | None, key: str) -> str:
    """Returns when and how often a flag was evaluated, and when it was served in bulk."""
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

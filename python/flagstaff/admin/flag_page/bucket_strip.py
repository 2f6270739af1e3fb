"""The strip of the buckets 0 to 99: which of them the rollout includes, and that of a user."""

from __future__ import annotations

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._engine.explain import Explanation
from flagstaff.admin.svg import chart, circle, line, rect, text

_HEIGHT = 74
_TOP, _THICK = 28, 14
_MIDDLE = _TOP + _THICK / 2
_LABEL, _SCALE = 16, 60
_ALL = 100
# Near an edge a label stays inside the box.
_EDGE = 15


def bucket_strip(explanation: Explanation) -> SafeString:
    """Returns the chart; empty without a bucket. Does not query."""
    bucket, cut = explanation.bucket, _cut(explanation)
    if bucket is None or cut is None:
        return SafeString()
    # A bucket is a hundredth of the strip.
    x = bucket + 0.5
    texts = {"bucket": bucket, "percent": cut}
    label = _("bucket %(bucket)s") % texts
    parts = [
        rect("rest", 0, _TOP, _ALL, _THICK),
        rect("fine", 0, _TOP, cut, _THICK),
        line("cut", (cut, _TOP - 4), (cut, _TOP + _THICK + 4)),
        circle("bucket", x, _MIDDLE, 6),
        text("label", x, _LABEL, label, _anchor(x)),
        text("quiet", cut, _SCALE, _("rollout %(percent)s %%") % texts, _anchor(cut)),
    ]
    desc = (
        _("Bucket %(bucket)s of 0 to 99 is below the rollout of %(percent)s %%.")
        if bucket < cut
        else _("Bucket %(bucket)s of 0 to 99 is not below the rollout of %(percent)s %%.")
    )
    return chart("flagstaff-buckets", _HEIGHT, _("Bucket and rollout"), desc % texts, parts)


def _cut(explanation: Explanation) -> int | None:
    """The rollout that the bucket is compared with: that of the rule that decided, if any."""
    deciding = (rule.rollout_percent for rule in explanation.rules if rule.decides)
    return next(deciding, explanation.rollout_percent)


def _anchor(x: float) -> str:
    return "start" if x < _EDGE else "end" if x > _ALL - _EDGE else "middle"

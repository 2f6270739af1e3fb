"""New keys of segments in the rules of experiments: neither a unit nor a phase changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flagstaff._extensions import OtherRules
from flagstaff._words.rule_parts import named_segments
from flagstaff.conf import conf
from flagstaff.experiments import messages
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.rows import Kind, record


def rename_segments(rules: Sequence[OtherRules], keys: Mapping[str, str]) -> None:
    """Writes rules in which segments have new keys, by the old ones, with an event for each row."""
    experiments = Experiment.objects.using(conf.database)
    for one in rules:
        # Rules never change otherwise, so a row that another transaction has locked needs no look.
        if experiments.filter(pk=one.pk).update(rules=one.rules):
            named = dict(named_segments(one.rules))
            for old, new in keys.items():
                if new in named:
                    text = messages.SEGMENT_RENAMED(old=old, new=new)
                    record(Experiment(pk=one.pk), Kind.EDITED, text)

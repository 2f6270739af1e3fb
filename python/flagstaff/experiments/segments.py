"""New keys of segments in the rules of experiments: neither a unit nor a phase changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db.models import TextField
from django.db.models.functions import Cast

from flagstaff._extensions import OtherRules
from flagstaff._words.json_text import read_json
from flagstaff._words.rule_parts import named_segments, with_segment_names
from flagstaff.conf import conf
from flagstaff.experiments import messages
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.rows import Kind, record


def rename_segments(rules: Sequence[OtherRules], keys: Mapping[str, str]) -> None:
    """Writes rules in which segments have new keys, by the old ones, with an event for each row."""
    experiments = Experiment.objects.using(conf.database)
    for one in rules:
        # An edit may have changed the rules since they were read.
        locked = experiments.filter(pk=one.pk).select_for_update()
        for text in locked.values_list(Cast("rules", TextField()), flat=True):
            before = read_json(text)
            renamed = keys.keys() & dict(named_segments(before))
            if renamed:
                experiments.filter(pk=one.pk).update(rules=with_segment_names(before, keys))
            for old in sorted(renamed):
                message = messages.SEGMENT_RENAMED(old=old, new=keys[old])
                record(Experiment(pk=one.pk), Kind.EDITED, message)

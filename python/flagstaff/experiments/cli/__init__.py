"""The verbs of experiments in `manage.py flags`."""

from __future__ import annotations

from flagstaff.experiments.cli.sample_size import SAMPLE_SIZE
from flagstaff.experiments.cli.verbs import EXPERIMENT, EXPERIMENTS

VERBS = (EXPERIMENT, EXPERIMENTS, SAMPLE_SIZE)

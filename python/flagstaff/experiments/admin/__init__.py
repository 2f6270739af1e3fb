"""The admin of experiments: a list, a form that creates one, and the report of each."""

from __future__ import annotations

from flagstaff.admin import register
from flagstaff.experiments.models import Experiment

register(Experiment, "flagstaff.experiments.admin.experiments.ExperimentAdmin")

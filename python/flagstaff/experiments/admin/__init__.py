"""The admin of experiments: a list, a form that creates one, and the report of each."""

from __future__ import annotations

from django.contrib import admin

from flagstaff.experiments.admin.experiments import ExperimentAdmin
from flagstaff.experiments.models import Experiment

__all__ = ["ExperimentAdmin"]

admin.site.register(Experiment, ExperimentAdmin)

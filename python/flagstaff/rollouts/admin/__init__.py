"""The admin of rollout plans: a list, a page for each plan, and a form that creates one."""

from __future__ import annotations

from django.contrib import admin

from flagstaff.rollouts.admin.plans import PlanAdmin
from flagstaff.rollouts.models import Plan

__all__ = ["PlanAdmin"]

admin.site.register(Plan, PlanAdmin)

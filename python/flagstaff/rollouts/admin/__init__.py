"""The admin of rollout plans: a list, a page for each plan, and a form that creates one."""

from __future__ import annotations

from flagstaff.admin import register
from flagstaff.rollouts.models import Plan

register(Plan, "flagstaff.rollouts.admin.plans.PlanAdmin")

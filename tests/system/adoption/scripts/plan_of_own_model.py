"""Prints the state and the rollout of a plan whose flag has a UUID and whose users all fail."""

from __future__ import annotations

import json

from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from switches.models import Switch

import flagstaff
from flagstaff import rollouts
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.rollouts.models import Plan, SignalCount

USERS = 600
user = 0


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=500 if flagstaff.flag_enabled("new_checkout", user) else 200)


Switch.objects.create(key="new_checkout", enabled=True)
call_command("flags", "run-jobs")
rollouts.start("new_checkout", ["50:1h", "100:1h"])
middleware = FlagstaffMiddleware(view)
for number in range(USERS):
    user = number
    middleware(RequestFactory().get("/"))
flagstaff.close()
counted = sum(SignalCount.objects.filter(kind="r").values_list("count", flat=True))
call_command("flags", "run-jobs")
call_command("flags", "plan", "show", "new_checkout")
print(json.dumps([counted, Plan.objects.get().state, Switch.objects.get().rollout_percent]))

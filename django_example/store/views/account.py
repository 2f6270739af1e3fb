from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from store.customers import log_in_as


@require_POST
def switch_user(request: HttpRequest) -> HttpResponse:
    log_in_as(request, request.POST.get("username", ""))
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()})
    return redirect(target if safe else "front")

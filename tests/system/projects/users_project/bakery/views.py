from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from flagstaff import flag_enabled, get_value
from flagstaff.decorators import flag_required


def checkout(request: HttpRequest) -> HttpResponse:
    design = "new" if flag_enabled("new_checkout", request.user) else "old"
    return HttpResponse(f"{design} checkout, paid through {get_value('gateway', 'stripe')}")


async def checkout_async(request: HttpRequest) -> HttpResponse:
    design = "new" if flag_enabled("new_checkout", await request.auser()) else "old"
    return HttpResponse(f"{design} checkout")


@flag_required("new_checkout")
async def new_only(request: HttpRequest) -> HttpResponse:
    return HttpResponse("new checkout")

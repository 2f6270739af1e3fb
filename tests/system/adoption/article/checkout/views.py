from django.http import HttpResponse, JsonResponse

from common.flags import flag_enabled
from common.values import get_value


def checkout(request):
    if flag_enabled("new_checkout", request.user):
        return HttpResponse("new checkout")
    return HttpResponse("old checkout")


def shipping(request):
    rules = get_value("shipping", default={"free_from": 50, "countries": []})
    return JsonResponse(rules)

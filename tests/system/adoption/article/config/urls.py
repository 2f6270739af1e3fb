from django.contrib import admin
from django.urls import path

from checkout import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("checkout/", views.checkout),
    path("shipping/", views.shipping),
]

from __future__ import annotations

from django import template

from store.money import money

register = template.Library()
register.filter("money", money)

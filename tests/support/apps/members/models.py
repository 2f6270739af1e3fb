"""User models with several types of primary keys."""

import uuid

from django.contrib.auth.models import AbstractBaseUser
from django.db import models


def random_name() -> str:
    return uuid.uuid4().hex


class Member(AbstractBaseUser):
    username = models.TextField(unique=True, default=random_name)

    USERNAME_FIELD = "username"

    class Meta:
        abstract = True


class BigintMember(Member):
    id = models.BigAutoField(primary_key=True)

    class Meta:
        app_label = "members"


class UuidMember(Member):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        app_label = "members"


class TextMember(Member):
    id = models.TextField(primary_key=True)

    class Meta:
        app_label = "members"

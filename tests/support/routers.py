"""Database routers of projects."""

from django.db.models import Model

__all__ = ["GroupsElsewhere", "RefusingRouter"]

_ELSEWHERE = {"group", "user_groups"}


class GroupsElsewhere:
    """Writes groups and their members to another database, and users to this one."""

    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "users" if model._meta.model_name in _ELSEWHERE else None

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: object
    ) -> bool | None:
        return db == "users" if model_name in _ELSEWHERE else None


class RefusingRouter:
    """Allows no migration."""

    def allow_migrate(self, *arguments: object, **hints: object) -> bool:
        return False

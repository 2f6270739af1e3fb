"""Abstract models for projects that add columns to flags or values."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Now
from django.db.models.signals import pre_save

from flagstaff._connection import is_postgresql
from flagstaff._declared import DeclaredKey, may_be_null, value_problems
from flagstaff._tables.rows import declaration, key_is_taken, taken_keys
from flagstaff._text import TextError, joined, say, some
from flagstaff.exceptions import FlagstaffError
from flagstaff.validators import (
    KEY_MAX_LENGTH,
    MAX_RULES_BYTES,
    MAX_VALUE_BYTES,
    OWNER_MAX_LENGTH,
    UNIT_MAX_LENGTH,
    validate_bucket_by,
    validate_choices,
    validate_flag_key,
    validate_rules,
    validate_tags,
    validate_text,
    validate_value,
    validate_value_rules,
)

# The other names are internal.
__all__ = ["AbstractFeatureFlag", "AbstractKeyValueStore", "KeyManager"]

if TYPE_CHECKING:
    from typing_extensions import Self

_Row = TypeVar("_Row", bound=models.Model)
# Not "gt" 1: SQLite's bounds of a year are in UTC, where the year 1 of Berlin begins before all
# times that Python has.
_YEARS = (("gte", 2), ("lt", 9000))
# Python's decoder is recursive, and refuses integers of more than 4,300 digits.
_READABLE = """(
    pg_catalog.octet_length({column}::text) <= {size}
    AND NOT pg_catalog.jsonb_path_exists(
        {column}, 'strict $.**{{500}} ? (@.type() == "array" || @.type() == "object")'
    )
    AND NOT pg_catalog.jsonb_path_exists({column}, 'strict $.** ? (@ >= 1e4300 || @ <= -1e4300)')
)"""


class RowConstraint(models.CheckConstraint):
    """A CHECK that, before it is added to a table, lists the rows that it would refuse."""

    def __init__(self, *, correction: str | None, **options: Any) -> None:
        super().__init__(**options)
        #: What an UPDATE sets to correct such a row, such as "rollout_percent = 100". None if it
        #: would destroy data.
        self.correction = correction

    def deconstruct(self) -> Any:
        """Returns the constraint for migrations."""
        path, arguments, options = super().deconstruct()
        return path, arguments, {**options, "correction": self.correction}

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        """Returns the statement that adds it. Raises FlagstaffError if rows break it."""
        tables = schema_editor.connection.introspection.table_names()
        # sqlmigrate only prints the statements, and CreateModel may add constraints later.
        if not schema_editor.collect_sql and model._meta.db_table in tables:
            self._refuse_rows(model, schema_editor)
        return super().create_sql(model, schema_editor)

    def _refuse_rows(self, model: Any, schema_editor: Any) -> None:
        check: str = self._get_check_sql(model, schema_editor)  # type: ignore[attr-defined]
        name = "key" if hasattr(model, "key") else "pk"
        is_broken = RawSQL(f"NOT ({check.replace('%', '%%')})", (), models.BooleanField())  # noqa: S611 (quoted)
        rows = model._base_manager.using(schema_editor.connection.alias).filter(is_broken)
        if not (keys := list(rows.order_by(name).values_list(name, flat=True))):
            return
        table = schema_editor.quote_name(model._meta.db_table)
        if self.correction is None:
            condition = cast("models.Q", self.condition)
            raise FlagstaffError(
                "{table} has rows that the constraint {name} refuses: {keys}; correct these "
                "columns: {columns}",
                table=table,
                name=self.name,
                keys=some(keys),
                columns=joined(sorted(condition.referenced_base_fields)),
            )
        raise FlagstaffError(
            "{table} has rows that the constraint {name} refuses: {keys}; correct them, for "
            "example: UPDATE {table} SET {correction} WHERE NOT ({check});",
            table=table,
            name=self.name,
            keys=some(keys),
            correction=self.correction,
            check=check,
        )


def rollout_in_range() -> RowConstraint:
    """Returns a constraint: the database rejects a rollout outside 0 to 100."""
    return _constraint(
        "rollout_percent_range",
        models.Q(rollout_percent__gte=0, rollout_percent__lte=100),
        say("the rollout percent must be a whole number from 0 to 100").lazy,
        "rollout_percent = 100",
    )


def finite_times(*fields: str) -> RowConstraint:
    """Returns a constraint: the database rejects times and days that Python cannot represent.

    Nor those near them, because pages add to times and show them in other zones.
    """
    bounds = {f"{field}__year__{bound}": year for field in fields for bound, year in _YEARS}
    return _constraint(
        "finite_times",
        models.Q(**bounds),
        say("times and days must be in the years 2 to 8999").lazy,
        # A row may have several, and only one of them may be wrong.
        ", ".join(
            f"{field} = CASE WHEN {field} < '0002-01-01' OR {field} >= '9000-01-01' THEN now() "
            f"ELSE {field} END"
            for field in fields
        ),
    )


def readable_json(*fields: str, value: str | None = None) -> RowConstraint:
    """Returns a constraint: PostgreSQL rejects JSON that Python cannot decode, and long JSON.

    The JSON of `fields` has at most 256 KiB as text, that of `value` 1 MiB.
    """
    sizes = {
        **dict.fromkeys(fields, MAX_RULES_BYTES),
        **({value: MAX_VALUE_BYTES} if value else {}),
    }
    return _constraint(
        "readable_json",
        models.Q(*(ReadableJson(field, size=size) for field, size in sizes.items())),
        say(
            "the JSON is too long, nested deeper than 500 levels, or has a number of more than "
            "4,300 digits; rules have at most 256 KiB, and a value 1 MiB"
        ).lazy,
        None,
    )


def _constraint(
    name: str, condition: models.Q, message: Any, correction: str | None
) -> RowConstraint:
    return RowConstraint(
        correction=correction,
        condition=condition,
        name=f"%(app_label)s_%(class)s_{name}",
        violation_error_message=message,
    )


class ReadableJson(models.Func):
    """Whether the JSON of a column has at most `size` bytes as text, and Python can decode it."""

    arity = 1
    output_field = models.BooleanField()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, Any]:
        """Returns the SQL. Only Django writes to the tables of other databases."""
        if not is_postgresql(connection):
            return "1 = 1", ()
        column, params = compiler.compile(self.source_expressions[0])
        return _READABLE.format(column=column, size=self.extra["size"]), tuple(params) * 3


class CheckedJSONField(models.JSONField):
    """JSON that its validators judge alone, also if it is empty."""

    # Django runs no validator for an empty value.
    empty_values = ()

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        """Does nothing: the validators say it better."""

    def deconstruct(self) -> Any:
        """Returns the field for migrations: the column is that of a JSONField."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, options


class ValueField(CheckedJSONField):
    """The JSON of a value. Of one that code lets be None, also null."""

    def contribute_to_class(
        self,
        cls: type[models.Model],
        name: str,
        private_only: bool = False,  # noqa: FBT001, FBT002 (Django's)
    ) -> None:
        """Adds the field to a model."""
        super().contribute_to_class(cls, name, private_only)
        if not cls._meta.abstract:
            pre_save.connect(self._store_null_of_fixture, sender=cls)

    def _store_null_of_fixture(self, instance: models.Model, *, raw: bool, **_: object) -> None:
        """Sets what is stored: `loaddata` does not ask the field."""
        if raw:
            setattr(instance, self.attname, self.pre_save(instance, add=False))

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Returns the value. Raises ValidationError."""
        if value is None and may_be_null(model_instance):
            return None
        return super().clean(value, model_instance)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: FBT001 (Django's)
        """Returns what is stored: JSON's null, not that of SQL, which is no value."""
        value = super().pre_save(model_instance, add)
        is_null = value is None and may_be_null(model_instance)
        return models.Value(None, models.JSONField()) if is_null else value


def _require_free(row: Any, kind: str, exclude: Collection[str] | None) -> None:
    """Raises ValidationError if something else has the key of a new flag or value."""
    if row._state.adding and "key" not in (exclude or ()):
        for key, other in taken_keys(kind, [row.key]).items():
            raise ValidationError({"key": TextError(key_is_taken(key, other))})


class KeyManager(models.Manager[_Row]):
    """The manager of flags and values: finds a row by its key, so fixtures need no primary key.

    A manager of your own inherits from it, or has `get_by_natural_key`.
    """

    def get_by_natural_key(self, key: str) -> _Row:
        """Returns the row of a key, for `loaddata`. Raises DoesNotExist."""
        return self.get(key=key)


class KeyedModel(models.Model):
    """A row with a key."""

    key: models.Field[str | Combinable, str]
    # Type checkers keep the type of Django's own, so that any manager of a project may replace it.
    if not TYPE_CHECKING:
        objects = KeyManager()

    class Meta:
        abstract = True

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        super().__init__(*arguments, **fields)
        # Django asks for the truth of a field, which a declared key refuses.
        if isinstance(vars(self).get("key"), DeclaredKey):
            self.key = str(self.key)

    def __str__(self) -> str:
        return self.key

    @classmethod
    def from_db(cls, *arguments: Any, **options: Any) -> Self:
        """Returns a row that was read. What code owns of a declared key is that of the code."""
        row = super().from_db(*arguments, **options)
        read = vars(row)
        declared = declaration(cls, read.get("key", ""))
        if declared is not None:
            read.update((name, value) for name, value in declared.owned.items() if name in read)
        return row

    def natural_key(self) -> tuple[str]:
        """Returns the key, by which `dumpdata --natural-primary` identifies the row."""
        return (self.key,)


class AbstractFeatureFlag(KeyedModel):
    """A flag: enabled or disabled, with a rollout percentage and allowed users.

    Every column except the key has a database default, so that plain SQL can omit it.
    """

    class Kind(models.TextChoices):
        RELEASE = "release", say("release").lazy
        OPS = "ops", say("operations").lazy
        PERMISSION = "permission", say("permission").lazy

    # Annotated for pyright. Only `Field` has the same parameters in all type stubs.
    key: models.Field[str | Combinable, str] = models.CharField(
        say("key").lazy,
        max_length=KEY_MAX_LENGTH,
        unique=True,
        validators=[validate_flag_key],
        help_text=say('The name that code uses, such as "new_checkout".').lazy,
    )
    enabled: models.Field[bool | Combinable, bool] = models.BooleanField(
        say("enabled").lazy,
        default=False,
        db_default=False,
        help_text=say("A disabled flag is off for every user.").lazy,
    )
    rollout_percent: models.Field[int | Combinable, int] = models.PositiveSmallIntegerField(
        say("rollout").lazy,
        default=0,
        db_default=0,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text=say("The percentage of users who have the flag: 0 to 100.").lazy,
    )
    bucket_by: models.Field[str | Combinable, str] = models.CharField(
        say("bucketing unit").lazy,
        max_length=UNIT_MAX_LENGTH,
        default="user",
        db_default="user",
        validators=[validate_bucket_by],
        help_text=say(
            'What the percentages count: "user", "visitor" (a browser, even before log-in), or the '
            'name of an attribute, such as "organization". A change of the unit reassigns every '
            "user at once."
        ).lazy,
    )
    allowed_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        verbose_name=say("allowed users").lazy,
        blank=True,
        help_text=say("These users have the flag at any percentage while it is enabled.").lazy,
    )
    rules: models.Field[Any, Any] = CheckedJSONField(
        say("rules").lazy,
        default=list,
        db_default=[],
        blank=True,
        validators=[validate_rules],
        help_text=say(
            "The first rule that matches decides. If no rule matches, the rollout decides."
        ).lazy,
    )
    description: models.Field[str | Combinable, str] = models.TextField(
        say("description").lazy, blank=True, default="", db_default="", validators=[validate_text]
    )
    kind: models.Field[str | Combinable, str] = models.CharField(
        say("kind").lazy,
        max_length=16,
        choices=Kind.choices,
        default=Kind.RELEASE,
        db_default=Kind.RELEASE,
        error_messages={"invalid_choice": say("use one of release, ops, permission").lazy},
    )
    client_side: models.Field[bool | Combinable, bool] = models.BooleanField(
        say("client side").lazy,
        default=False,
        db_default=False,
        help_text=say("The flag may be sent to browsers, so its key is public.").lazy,
    )
    owner: models.Field[str | Combinable, str] = models.CharField(
        say("owner").lazy,
        max_length=OWNER_MAX_LENGTH,
        blank=True,
        default="",
        db_default="",
        validators=[validate_text],
        help_text=say("The person or team that decides about the flag.").lazy,
    )
    tags: models.Field[Any, Any] = CheckedJSONField(
        say("tags").lazy,
        default=list,
        db_default=[],
        blank=True,
        validators=[validate_tags],
        help_text=say("Words to find the flag by, such as the part of the product.").lazy,
    )
    review_on: models.Field[date | Combinable | None, date | None] = models.DateField(
        say("review on").lazy,
        null=True,
        blank=True,
        help_text=say("On this day somebody should decide whether the flag is still needed.").lazy,
    )
    created_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        say("created at").lazy, auto_now_add=True, db_default=Now()
    )
    changed_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        say("changed at").lazy, auto_now=True, db_default=Now()
    )

    class Meta:
        abstract = True
        verbose_name = say("flag").lazy
        verbose_name_plural = say("flags").lazy
        ordering = ("key",)
        # "toggle": turn on and off, roll out and kill, without the right to change anything else.
        default_permissions = ("add", "change", "delete", "view", "toggle")
        constraints = (
            rollout_in_range(),
            readable_json("rules", "tags"),
            finite_times("review_on", "created_at", "changed_at"),
        )

    def validate_unique(self, exclude: Collection[str] | None = None) -> None:
        """Raises ValidationError for the key of another flag, or of a value or an experiment."""
        super().validate_unique(exclude)
        _require_free(self, "flag", exclude)


class AbstractKeyValueStore(KeyedModel):
    """A value that can be changed without a deploy."""

    class Type(models.TextChoices):
        ANY = "", say("any type").lazy
        STRING = "string", say("string").lazy
        NUMBER = "number", say("number").lazy
        INTEGER = "integer", say("integer").lazy
        BOOLEAN = "boolean", say("boolean").lazy
        OBJECT = "object", say("object").lazy
        ARRAY = "array", say("array").lazy

    key: models.Field[str | Combinable, str] = models.CharField(
        say("key").lazy, max_length=KEY_MAX_LENGTH, unique=True, validators=[validate_flag_key]
    )
    # "blank" for forms: an empty list or string is valid.
    # No default: saving a key without a value is a mistake and should fail.
    value: models.Field[Any, Any] = ValueField(
        say("value").lazy,
        blank=True,
        validators=[validate_value],
    )
    description: models.Field[str | Combinable, str] = models.TextField(
        say("description").lazy, blank=True, default="", db_default="", validators=[validate_text]
    )
    secret: models.Field[bool | Combinable, bool] = models.BooleanField(
        say("secret").lazy,
        default=False,
        db_default=False,
        help_text=say("The history stores only that a secret value was set, not the value.").lazy,
    )
    type: models.Field[str | Combinable, str] = models.CharField(
        say("type").lazy,
        max_length=10,
        choices=Type.choices,
        blank=True,
        default="",
        db_default="",
        error_messages={
            "invalid_choice": say("use one of string, number, integer, boolean, object, array").lazy
        },
        help_text=say("A value of another type is refused.").lazy,
    )
    choices: models.Field[Any, Any] = CheckedJSONField(
        say("choices").lazy,
        default=list,
        db_default=[],
        blank=True,
        validators=[validate_choices],
        help_text=say(
            'A JSON list, such as ["stripe", "paypal"]. Any other value is refused.'
        ).lazy,
    )
    rules: models.Field[Any, Any] = CheckedJSONField(
        say("rules").lazy,
        default=list,
        db_default=[],
        blank=True,
        validators=[validate_value_rules],
        help_text=say(
            "The first rule that matches decides. If no rule matches, users get the value itself."
        ).lazy,
    )
    bucket_by: models.Field[str | Combinable, str] = models.CharField(
        say("bucketing unit").lazy,
        max_length=UNIT_MAX_LENGTH,
        default="user",
        db_default="user",
        validators=[validate_bucket_by],
        help_text=say(
            'What the percentages of rules count: "user", "visitor" (a browser, even before '
            'log-in), or the name of an attribute, such as "organization".'
        ).lazy,
    )
    client_side: models.Field[bool | Combinable, bool] = models.BooleanField(
        say("client side").lazy,
        default=False,
        db_default=False,
        help_text=say(
            "Browsers may read this value, so it is public. A secret value cannot be client side."
        ).lazy,
    )
    changed_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        say("changed at").lazy, auto_now=True, db_default=Now()
    )

    class Meta:
        abstract = True
        verbose_name = say("value").lazy
        verbose_name_plural = say("values").lazy
        ordering = ("key",)
        constraints = (
            readable_json("choices", "rules", value="value"),
            finite_times("changed_at"),
        )

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Raises ValidationError for invalid fields, also for those that break the schema."""
        errors: dict[str, list[ValidationError]] = {}
        try:
            super().clean_fields(exclude)
        except ValidationError as error:
            errors = error.update_error_dict({})
        for name, problem in value_problems(self).items():
            if name not in {*(exclude or ()), *errors}:
                errors[name] = [TextError(problem)]
        if errors:
            raise ValidationError(errors)

    def validate_unique(self, exclude: Collection[str] | None = None) -> None:
        """Raises ValidationError for the key of another value, or of a flag or an experiment."""
        super().validate_unique(exclude)
        _require_free(self, "value", exclude)

"""One dimension of a search space, as a config file states it."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)


def _parse_value(value: object) -> object:
    """Returns a list or null as the text that its flag takes; what proposes settings holds no other kinds."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return json.dumps(list(value), default=str)
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("it should be a word, a number, true, false, null or a list")
    return value


def _parse_wanted(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


Value = Annotated[str | int | float | bool, BeforeValidator(_parse_value)]
_Values = Annotated[tuple[Value, ...], Field(strict=False, min_length=1, max_length=1000)]


class Range(BaseModel):
    """One dimension of a search: either `values`, or `min` and `max`, or `tied`.

    Attributes:
      values: what is tried. A list or null is held as the text that its flag takes.
      min: the least that is tried.
      max: the greatest that is tried, if whole steps lead to it.
      step: what is added from one value to the next; with sampling log what is multiplied by. None: all between.
      sampling: whether values or their logarithms are spread evenly.
      when: setting of the space -> its values with which this one is proposed; all have to hold. Else the setting keeps
        the value that it has without a search.
      tied: the setting of the space that has the same value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    values: _Values | None = None
    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = Field(None, gt=0)
    sampling: Literal["linear", "log"] = "linear"
    when: dict[str, Annotated[_Values, BeforeValidator(_parse_wanted)]] = Field(default_factory=dict)
    tied: str | None = None

    @field_validator("values")
    @classmethod
    def _make_alike(cls, values: tuple[Value, ...] | None) -> tuple[Value, ...] | None:
        """0 among fractions is 0.0."""
        is_mixed = values is not None and {type(value) for value in values} == {int, float}
        return tuple(map(float, values)) if values is not None and is_mixed else values

    def take_fractions(self) -> "Range":
        """Returns this dimension for a setting that takes fractions, of which some may be given as whole numbers."""
        ends = {name: float(end) for name in ("min", "max") if (end := getattr(self, name)) is not None}
        values = self.values and tuple(float(value) if type(value) is int else value for value in self.values)
        return self.model_copy(update={**ends, "values": values})

    @model_serializer(mode="wrap")
    def _leave_defaults(self, dump: SerializerFunctionWrapHandler) -> Mapping[str, object]:
        """What is not stated is not written."""
        defaults = {name: field.get_default(call_default_factory=True) for name, field in Range.model_fields.items()}
        return {name: value for name, value in dump(self).items() if value != defaults[name]}

"""What all sections of a job file have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Unknown keys are refused, nothing changes once it is read, all numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _what_is_off_is_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is None, a job is shorter; not where that would mean the default again."""
        told: dict[str, Any] = handler(self)
        off = (name for name in self.model_fields_set if getattr(self, name) is None)
        fields = type(self).model_fields
        return told | {name: None for name in off if fields[name].default is not None}

"""What a test leg may use of the machine that it runs on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sigdca.job.section import Positive, Section


class Limits(Section):
    """Everything left out is free."""

    cores: Positive | None = Field(None, description="CPUs that the leg's processes run on")
    clock_share: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="share of those CPUs' time: a quota, which is no lower clock"
    )
    memory_bytes: Positive | None = Field(None, description="memory of the leg's process")

    @property
    def limits(self) -> Limits:
        """These alone, of a section that says more."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    def over(self, others: Limits) -> Limits:
        """These, and what the others say where these say nothing."""
        mine = self.limits.model_dump(exclude_none=True)
        return Limits(**others.limits.model_dump(exclude_none=True) | mine)

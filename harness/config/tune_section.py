"""Settings of a search: the section tune."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from harness.config.ranges import Range, Value
from harness.config.training_sections import AugmentConfig, ModelConfig, OptimConfig, TrainConfig
from harness.config.values import MOST, LocalPath, Section, Seed


def _check_start(value: object) -> object:
    if not isinstance(value, list | tuple) or not all(isinstance(part, dict) for part in value):
        raise ValueError("it should be a list of {setting: value}")
    return value


def _parse_slots(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    try:
        return parse(value)
    except ValidationError:  # which speaks of the first alternative alone
        raise ValueError("it should be auto, or a whole number from 1 to 1024") from None


_SEARCHED: Mapping[str, type[Section]] = {
    "augment": AugmentConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "train": TrainConfig,
}


def _takes_fractions(name: str) -> bool:
    section, _, field = name.partition(".")
    found = _SEARCHED[section].model_fields.get(field) if section in _SEARCHED else None
    return found is not None and found.annotation is float


class TuneConfig(Section):
    """The search for better settings."""

    folder: LocalPath = Field(Path("runs/tune"), description="folder of the search; every trial is a run folder in it")
    algorithm: Literal["random", "grid", "hyperband", "bayesian"] = Field(
        "random", description="how settings are proposed; grid: every combination, in the order of the space"
    )
    trials: int = Field(
        10,
        ge=1,
        le=MOST,
        description="trials at most, those of tune.start included (random, grid, bayesian); grid ends after all "
        "combinations",
    )
    max_epochs: int = Field(10, ge=2, le=MOST, description="epochs of the longest trials (hyperband)")
    seed: Seed = Field(0, description="seed of the proposals")
    space: dict[str, Range] = Field(
        default_factory=dict,
        description="setting name: {values: […]}, {min, max, step, sampling: linear|log} or {tied: SETTING}; with "
        "when: {SETTING: VALUES} only proposed while that setting has one of these values",
    )
    start: Annotated[tuple[dict[str, Value], ...], Field(strict=False), BeforeValidator(_check_start)] = Field(
        (),
        description="settings that are tried first, after those without a search: a list of {setting: value}; a "
        "setting of the space that is not named has its value without a search",
    )
    slots: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=1024)], WrapValidator(_parse_slots)] = Field(
        "auto",
        description="trials at a time on this machine; auto: one for every tune.gpus_per_trial GPUs, one on CPUs",
    )
    gpus_per_trial: int = Field(1, ge=1, le=64, description="GPUs that each trial trains on")
    minutes_per_trial: float = Field(
        0.0, ge=0, description="minutes a trial may take before it counts as failed; 0: no limit"
    )
    max_failures: int = Field(3, ge=1, le=MOST, description="trials that fail in a row, after which the search stops")
    retrain: int = Field(
        3,
        ge=0,
        le=64,
        description="seeds with which the best settings and those without a search are trained again, to tell "
        "whether the best are better; 0: none",
    )
    rebuild: bool = Field(False, description="write what proposes settings anew, from the run folders of the trials")

    @field_validator("space")
    @classmethod
    def _take_fractions(cls, space: dict[str, Range]) -> dict[str, Range]:
        """Between 0 and 1 a setting that takes fractions has more than two values."""
        return {name: extent.take_fractions() if _takes_fractions(name) else extent for name, extent in space.items()}

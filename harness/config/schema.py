"""The frozen Config: every setting a user can change, with its description, default, unit and range.

A section lies in the file of its stage, and nothing is set anywhere else. settings.py makes a Config from files and
flags.
"""

from harness.base import files
from harness.config.dataset_sections import CleanConfig, DataConfig, RecordsConfig, SplitConfig
from harness.config.training_sections import AugmentConfig, ModelConfig, OptimConfig, RuntimeConfig, TrainConfig
from harness.config.tune_section import TuneConfig
from harness.config.values import Section


class Config(Section):
    """Every setting of every command."""

    data: DataConfig = DataConfig()
    clean: CleanConfig = CleanConfig()
    split: SplitConfig = SplitConfig()
    records: RecordsConfig = RecordsConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tune: TuneConfig = TuneConfig()

    def sections(self, *names: str) -> dict[str, dict[str, object]]:
        """Returns the named sections as plain JSON values, for files and digests."""
        return self.model_dump(mode="json", include=set(names))

    def digest(self, *names: str) -> str:
        """Returns one sha256 for the values of the named sections."""
        return files.digest_json(self.sections(*names))

"""Every file of a run folder, in one place."""

from dataclasses import dataclass
from pathlib import Path

from harness.config.schema import Config

RUNS = Path("runs")  # where runs lie unless a person says it


@dataclass(frozen=True)
class Workdir:
    """The files of one run. Nothing here touches the disk."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved config, itself a valid --config."""
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, devices and data digests the run started with."""
        return self.root / "environment.json"

    @property
    def checkpoints(self) -> Path:
        """The latest checkpoints."""
        return self.root / "checkpoints" / "latest"

    @property
    def best(self) -> Path:
        """The checkpoint of the best validation, by train.monitor."""
        return self.root / "checkpoints" / "best"

    @property
    def epoch_start(self) -> Path:
        """The checkpoint of the start of the current epoch, to go back to."""
        return self.root / "checkpoints" / "epoch_start"

    @property
    def interrupted(self) -> Path:
        """Present while a run that was asked to stop waits to go on."""
        return self.root / "INTERRUPTED"

    @property
    def metrics_csv(self) -> Path:
        """One row an epoch."""
        return self.root / "metrics.csv"

    @property
    def metrics(self) -> Path:
        """The final figures; written last, so its presence means that the run is complete."""
        return self.root / "metrics.json"

    @property
    def predictions(self) -> Path:
        """What the kept weights say of each validation picture, one row a picture."""
        return self.root / "predictions.csv"

    @property
    def probabilities(self) -> Path:
        """The probability of every class for each of these pictures: float32 [n, num_classes], in NumPy's format."""
        return self.root / "probabilities.npy"

    @property
    def curves(self) -> Path:
        """Loss and accuracy by epoch."""
        return self.root / "curves.png"

    @property
    def confusion(self) -> Path:
        """The confusion matrix on the validation split."""
        return self.root / "confusion.png"

    @property
    def report(self) -> Path:
        """The run on one page."""
        return self.root / "report.html"

    @property
    def export(self) -> Path:
        """The folder of the exported model."""
        return self.root / "export"

    @property
    def keras_model(self) -> Path:
        """The model in Keras' own format."""
        return self.export / "model.keras"

    @property
    def signature(self) -> Path:
        """What the exported model takes and gives: picture size and class names."""
        return self.export / "signature.json"

    @property
    def labels(self) -> Path:
        """The class names alone, one a line, in the order of the outputs."""
        return self.export / "labels.txt"

    @property
    def exports(self) -> Path:
        """What became of each export format: sizes, differences, milliseconds."""
        return self.export / "export.json"

    @property
    def model_card(self) -> Path:
        """What a person who gets the exported model has to know of it."""
        return self.export / "MODEL_CARD.md"

    @property
    def record(self) -> Path:
        """What a search knows of the run, if it is one of its trials."""
        return self.root / "trial.json"

    @property
    def trial_config(self) -> Path:
        """The settings a search starts the run with."""
        return self.root / "trial.yaml"

    @property
    def log(self) -> Path:
        """What the run has printed, where a search keeps it."""
        return self.root / "train.log"

    def stacks(self, worker_index: int) -> Path:
        """Where each thread of a worker stood when it came no further."""
        return self.root / f"stalled-worker{worker_index}.txt"

    def events(self, split: str) -> Path:
        """TensorBoard's folder for one split."""
        return self.root / split


def name_run(config: Config, config_file: Path | None) -> Config:
    """Returns the config with its run folder: the one given, or runs/ and what `find_name` says."""
    if config.train.run is not None:
        return config
    run = RUNS / find_name(config, config_file)
    return config.model_copy(update={"train": config.train.model_copy(update={"run": run})})


def find_name(config: Config, config_file: Path | None) -> str:
    """Returns what a run is called unless a person says it: like its config file, else like its records.

    On the sample records, with which networks are compared, it is called like the network; on others a network that is
    not the default one stands behind their name.
    """
    if config_file is not None:
        return config_file.stem
    records, default = config.data.records_folder, Config()
    if records == default.data.records_folder:
        return config.model.name
    name = records.name if records.name not in ("", "..") else records.resolve().name
    return name if config.model.name == default.model.name else f"{name}-{config.model.name}"

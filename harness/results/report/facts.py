"""What the report of a run tells: plain values, measured and read elsewhere.

artifacts.py gathers them, page.py shows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.config.schema import Config
from harness.dataset.curation.findings import Finding
from harness.results.evaluation import Answers, Evaluation
from harness.results.export.exported import Exports
from harness.results.history import Row
from harness.results.kept_epoch import KeptEpoch
from harness.results.predictions import Predictions
from harness.results.verdict import Verdict
from harness.runs.identity import Environment


@dataclass(frozen=True)
class Picture:
    """A validation picture as it is shown, with what the model says of it.

    Attributes:
      path: of the picture, as in the records.
      label: its class.
      predicted: the class that is most probable.
      probability: of that class.
      label_probability: of its own class.
      jpeg: the picture, small.
      nearest: the training picture that looks most like it, small; None where none was looked for.
      nearest_path: of that picture.
      nearest_label: its class.
      overlay: the picture in grey with what the answer goes by in colour, as JPEG; None where that was not asked for.
    """

    path: str
    label: int
    predicted: int
    probability: float
    label_probability: float
    jpeg: bytes
    nearest: bytes | None = None
    nearest_path: str = ""
    nearest_label: int = 0
    overlay: bytes | None = None


@dataclass(frozen=True)
class Pictures:
    """The pictures on the page.

    Attributes:
      mistakes: wrong answers, the surest first; of `num_mistakes` in all.
      unsure: right answers, the least sure first.
      right: right answers as they come, drawn at random.
      augmented: training pictures as stored and as trained on, small JPEGs; empty without augmentation.
      num_mistakes: wrong answers of the split.
    """

    mistakes: tuple[Picture, ...] = ()
    unsure: tuple[Picture, ...] = ()
    right: tuple[Picture, ...] = ()
    augmented: tuple[tuple[bytes, bytes], ...] = ()
    num_mistakes: int = 0


@dataclass(frozen=True)
class DataReport:
    """What the report of the records says.

    Attributes:
      link: from the run folder to it; "" where there is none to go to.
      warnings: its warnings.
    """

    link: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """All that the page says.

    Attributes:
      name: of the run.
      verdict: what to think of it.
      validation: the figures on the validation split.
      test: those on the test split; None where there is none.
      answers: what the kept weights say of the validation pictures.
      predictions: the same by name, in the same order.
      history: a row an epoch.
      best_epoch: the epoch whose weights are kept, from 1.
      num_train: training pictures.
      num_parameters: of the network.
      config: the resolved settings.
      environment: what environment.json holds.
      run: the run folder, as commands name it.
      finished: when, in words.
      findings: what the build of the records found about each validation picture, by path; empty where not known.
      pictures: which are shown.
      data_report: what the report of the records says.
      exports: the files of the exported model, as a fresh process found them; empty where it was not asked.
    """

    name: str
    verdict: Verdict
    validation: Evaluation
    answers: Answers
    predictions: Predictions
    history: Sequence[Row]
    best_epoch: int
    num_train: int
    num_parameters: int
    config: Config
    environment: Environment
    run: str
    finished: str
    test: Evaluation | None = None
    findings: Mapping[str, Finding] = field(default_factory=dict)
    pictures: Pictures = Pictures()
    data_report: DataReport = DataReport()
    exports: Exports = field(default_factory=Exports)

    @property
    def kept(self) -> KeptEpoch:
        """The epoch whose weights are kept."""
        return KeptEpoch(self.history, self.best_epoch, self.config.train)

    @property
    def judged(self) -> Evaluation:
        """What the verdict speaks of: the test split where there is one."""
        return self.test or self.validation

"""What the data report tells: plain values about every picture, kept or not.

survey.py gathers them, page.py shows them; nothing is computed here but sums.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from harness.dataset.images.arrays import Array
from harness.dataset.images.rejection import Reason
from harness.dataset.records.manifest import ShardInfo
from harness.dataset.report.corrected_labels import CorrectedLabels

# How much the page shows; a caller needs no more thumbnails than these, and the totals say what was left out.
MAX_REJECTS = 24  # of one reason
MAX_GROUPS = 40  # of one kind of copies
MAX_COPIES = 6  # of one group
MAX_NOTABLE = 8  # of one kind
OBLONG = 1.25  # the longer side over the shorter one, from which stretching to a square is told of
THUMBNAIL_SIDE = 112  # pixels of the longer side; as JPEG of quality 75 a full page stays under 10 MB


@dataclass(frozen=True)
class ClassCounts:
    """What became of the pictures of a class: numbers kept by split, and rejected by reason."""

    kept: Mapping[str, int]
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_kept(self) -> int:
        """Pictures in the records."""
        return sum(self.kept.values())

    @property
    def num_found(self) -> int:
        """Files found, without those that a table names and that are not there."""
        return self.num_kept + sum(self.rejected.values()) - self.rejected.get(Reason.MISSING, 0)


@dataclass(frozen=True)
class KeptPictures:
    """Sizes of the kept pictures as found, one entry a picture: int [N] in pixels and bytes, str [N]."""

    widths: Array
    heights: Array
    num_bytes: Array
    formats: Array
    image_size: int  # the side of an encoded picture
    fit: str = "stretch"  # how they became squares
    wide: str = ""  # how pixels of more than 8 bits were scaled, in words

    def __post_init__(self) -> None:
        lengths = {len(self.widths), len(self.heights), len(self.num_bytes), len(self.formats)}
        if len(lengths) > 1:
            raise ValueError(f"widths, heights, num_bytes and formats differ in length: {sorted(lengths)}")

    @property
    def num_oblong(self) -> int:
        """Pictures whose one side is longer by more than a quarter than the other."""
        return int((np.maximum(self.widths, self.heights) > OBLONG * np.minimum(self.widths, self.heights)).sum())


@dataclass(frozen=True)
class Sample:
    """A picture that is shown. What does not apply to it is empty.

    `thumbnail` is a JPEG, or None when nothing can be shown; `split` is empty for a picture that is not kept;
    `measured` and `limit` carry their units; `is_flagged` says that what was measured is past its limit.
    """

    path: str
    class_name: str
    thumbnail: bytes | None = None
    split: str = ""
    measured: str = ""
    limit: str = ""
    is_flagged: bool = False


@dataclass(frozen=True)
class CopyGroup:
    """Pictures that are copies of one another: the first of them, and how many there are."""

    samples: tuple[Sample, ...]
    num_pictures: int


@dataclass(frozen=True)
class Copies:
    """Groups of one kind of copies: the first of them, how many there are, and in words what was done with them.

    `noun` is what a group is called; a picture may be in several pairs.
    """

    outcome: str = ""
    groups: tuple[CopyGroup, ...] = ()
    num_groups: int = 0
    num_pictures: int = 0
    noun: str = "group"


@dataclass(frozen=True)
class Notable:
    """The pictures at one end of a measure, the furthest first: "darkest", flagged "below 16 of 255"."""

    title: str
    samples: tuple[Sample, ...]
    limit: str = ""
    num_flagged: int = 0


@dataclass(frozen=True)
class ProbeRow:
    """How well a classifier tells the classes apart by one feature that is not what the picture shows."""

    feature: str
    balanced_accuracy: float
    low: float  # the 95 % interval
    high: float
    chance: float
    verdict: str
    is_flagged: bool = False


@dataclass(frozen=True)
class Probe:
    """The shortcut probe: its rows and its sentences, or in `skipped` why there is none ("not enough groups").

    `classes` says how many it looked at: "all 3 classes".
    """

    rows: tuple[ProbeRow, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: str = ""
    classes: str = ""


@dataclass(frozen=True)
class SplitRule:
    """How pictures were split. `asked` names every split in order; `num_groups` is by split."""

    asked: Mapping[str, float]
    num_groups: Mapping[str, int]
    seed: int
    grouping: str  # in words: "column 'group' of groups.csv"
    given: tuple[str, ...] = ()  # splits that are given, not drawn
    unseen: str = ""  # among which pictures no near copies were looked for


@dataclass(frozen=True)
class Origin:
    """What makes the records again, and proves that they are these: digests are by what they are of."""

    command: str
    version: str
    digests: Mapping[str, str]
    settings_yaml: str
    shards: tuple[ShardInfo, ...]


@dataclass(frozen=True)
class Facts:
    """All that the page says.

    `classes` is in the order of the labels, then by name those of which nothing is kept; "" is of files that have none.
    `lines` say how the pictures were listed. `rejects` is by reason: samples of what `classes` counts; `advice` says by
    reason what to do about them. `notes` counts kept pictures by note, and `note_meanings` says what was done about
    each. `corrected` is what `clean.labels` has changed.
    """

    classes: Mapping[str, ClassCounts]
    split: SplitRule
    kept: KeptPictures
    origin: Origin
    rejects: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    advice: Mapping[str, str] = field(default_factory=dict)
    conflicts: Copies = Copies()
    near_conflicts: Copies = Copies()
    exact_copies: Copies = Copies()
    near_duplicates: Copies = Copies()
    notable: tuple[Notable, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    note_meanings: Mapping[str, str] = field(default_factory=dict)
    probe: Probe = Probe(skipped="it was not asked for")
    corrected: CorrectedLabels = field(default_factory=CorrectedLabels)
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = {split for counts in self.classes.values() for split in counts.kept} - set(self.split.asked)
        if unknown:
            raise ValueError(f"pictures are counted in the splits {sorted(unknown)}, which the rule does not name")
        uncounted = [reason for reason, samples in self.rejects.items() if len(samples) > self.num_rejected[reason]]
        if uncounted:
            raise ValueError(f"more samples than rejected pictures: {uncounted}")
        if len(self.kept.widths) != self.num_kept:
            raise ValueError(f"{len(self.kept.widths)} sizes for {self.num_kept} kept pictures")

    @property
    def num_kept(self) -> int:
        """Pictures in the records."""
        return sum(counts.num_kept for counts in self.classes.values())

    @property
    def num_found(self) -> int:
        """Files found."""
        return sum(counts.num_found for counts in self.classes.values())

    @property
    def num_in_split(self) -> dict[str, int]:
        """Kept pictures by split, in the order of the rule."""
        return {split: sum(counts.kept.get(split, 0) for counts in self.classes.values()) for split in self.split.asked}

    @property
    def num_rejected(self) -> Counter[str]:
        """Rejected pictures by reason."""
        return sum((Counter(counts.rejected) for counts in self.classes.values()), Counter())

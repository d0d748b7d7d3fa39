"""What the data report shows of a build: the facts, and the pictures that are worth a look.

It makes no HTML: page.py does.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness import __version__
from harness.config import settings
from harness.config.schema import Config
from harness.dataset.curation import findings
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import join_groups
from harness.dataset.curation.plan import Plan
from harness.dataset.images import quality
from harness.dataset.images.rejection import Reason
from harness.dataset.records.manifest import Manifest
from harness.dataset.report import facts, shortcuts
from harness.dataset.report.facts import (
    ClassCounts,
    Copies,
    CopyGroup,
    Facts,
    KeptPictures,
    Notable,
    Origin,
    Probe,
    ProbeRow,
    Sample,
    SplitRule,
)
from harness.dataset.report.shortcuts import Shortcut

NOTE_MEANINGS = {
    "exif": "the file carries EXIF data, which are left out of the records",
    "exif_rotated": "turned upright as the EXIF orientation says",
    "gray": "grey levels were repeated as red, green and blue",
    "palette": "colours were looked up in the palette",
    "alpha": "transparent pixels were laid on white",
    "cmyk": "printing inks were converted to RGB",
    "16_bit": "16 bits were rounded to 8",
    "several_frames": "the first frame was used",
    "wrong_extension": "the name says another format than the content, which was read as what it is",
    "symbolic_link": "the link was followed",
    "no_end_marker": "a JPEG without its end marker, all of whose pixels are there: kept",
    "trailing_bytes": "bytes after the end of the picture were left out",
    "salvaged": "damage that decoders get over: kept, as clean.salvaged asks",
    "label_conflict": "a copy has another class: kept, as clean.label_conflicts asks",
    "leak": "copies of it, or others of its group, are in another of the given splits: kept, as split.leaks asks",
    "moved": "others of its group are in another of the given splits: moved there, as split.leaks asks",
    **{name: f"below cleanvision's limit of {limit}: kept, look at it" for name, limit in quality.LIMITS.items()},
}
_NOTABLE = {
    "darkest": ("dark", "dark", "brightness of the brightest 1 %: "),
    "lightest": ("light", "light", "1 less brightness of the darkest 5 %: "),
    "blurriest": ("blurry", "blurry", "sharpness: "),
    "least information": ("low_information", "information", "entropy score: "),
    "oddest aspect": ("odd_aspect", None, "short side over long side: "),
}
_CONFLICT_OUTCOMES = {
    "drop": "Nobody can say which label is right: none of them is kept.",
    "keep": "All are kept under their classes, on one side of the split, as clean.label_conflicts asks.",
    "fail": "",  # there are none in what was built
}
_FEW, _IMBALANCE = 10, 10
_CROWD, _CROWD_SHARE = 20, 0.05  # pictures, and share of all

# What draws thumbnails elsewhere: from findings to a JPEG or None for each.
DrawThumbnails = Callable[[Sequence[Finding]], Sequence[bytes | None]]


def probe(found: Sequence[Finding]) -> tuple[Shortcut, ...]:
    """Asks of each figure that is not what a picture shows whether it gives the class away."""
    kept = [item for item in found if item.is_kept]
    sizes = np.array([(item.width, item.height, item.width / item.height) for item in kept], float)
    features = {
        "file size": np.log([[item.num_bytes] for item in kept]),
        "file format": np.array([item.format for item in kept]),
        "width and height": sizes,
        "mean colour": np.array([(item.red, item.green, item.blue) for item in kept], float),
        "presence of EXIF data": np.array(["exif" in item.notes.split() for item in kept]).astype(str),
    }
    return shortcuts.probe(features, [item.class_name for item in kept], [item.group for item in kept])


def make_facts(
    config: Config,
    made: Plan,
    result: Manifest,
    *,
    found_shortcuts: Sequence[Shortcut],
    draw: DrawThumbnails,
    command: str,
) -> Facts:
    """Returns all that the data report says.

    Args:
      config: of the build.
      made: its plan, with findings that know where the encoded pictures lie.
      result: its manifest.
      found_shortcuts: what `probe` returned.
      draw: draws thumbnails.
      command: what the user typed.
    """
    kept = [item for item in made.findings if item.is_kept]
    shown = _Shown(made, kept)
    chosen = {item.path: item for item in shown.all_pictures()}
    thumbnails = dict(zip(chosen, draw(list(chosen.values()))))
    return Facts(
        classes=_count_classes(made, result),
        split=_describe_split(config, made, result),
        kept=KeptPictures(
            widths=np.array([item.width for item in kept]),
            heights=np.array([item.height for item in kept]),
            num_bytes=np.array([item.num_bytes for item in kept]),
            formats=np.array([item.format for item in kept]),
            image_size=result.image_size,
        ),
        origin=_describe_origin(config, result, command),
        rejects={
            reason: tuple(_sample(item, thumbnails, measured=item.measured, limit=item.limit) for item in items)
            for reason, items in shown.rejects.items()
        },
        conflicts=_copies(shown.conflicts, thumbnails, _CONFLICT_OUTCOMES[config.clean.label_conflicts]),
        exact_copies=_copies(shown.exact, thumbnails, "The first by path is kept, the others are left out."),
        near_duplicates=_copies(shown.near, thumbnails, "All are kept, on one side of the split."),
        notable=tuple(_notable(title, items, kept, thumbnails) for title, items in shown.notable.items()),
        notes=Counter(note for item in kept for note in item.notes.split()),
        note_meanings=NOTE_MEANINGS,
        probe=_describe_probe(found_shortcuts),
        warnings=tuple(list_warnings(made, result, found_shortcuts)),
    )


def list_warnings(made: Plan, result: Manifest, found_shortcuts: Sequence[Shortcut]) -> list[str]:
    """Returns what a person should know before training, a sentence each."""
    warnings = shortcuts.describe(found_shortcuts)
    if made.conflicts:
        first = made.conflicts[0]
        pairs = (
            "1 pair of pictures shows" if len(made.conflicts) == 1 else f"{len(made.conflicts)} pairs of pictures show"
        )
        warnings.append(f"{pairs} one thing under two classes, such as {first.first} and {first.second}.")
    if made.leaks:
        warnings.append(f"{made.leaks.describe()}.")
    warnings += made.warnings
    counts = Counter(item.class_name for item in made.findings if item.is_kept)
    (most, num_most), (least, num_least) = counts.most_common()[0], counts.most_common()[-1]
    if num_most > _IMBALANCE * num_least:
        warnings.append(f"the classes are far from even: {num_most} of {most}, {num_least} of {least}.")
    groups = _join(made.near_pairs, _by_path(made))
    crowd = max((sum(item.is_kept for item in group) for group in groups), default=0)
    if crowd > max(_CROWD, _CROWD_SHARE * counts.total()):
        warnings.append(
            f"the largest group of near copies holds {crowd} of {counts.total()} pictures, all on one side of the "
            "split. If they are different things that look alike, set clean.near_copies: ignore."
        )
    for name, info in result.splits.items():
        few = [label for label in made.class_names if info.num_examples and info.class_counts[label] < _FEW]
        if few and name != "train":
            warnings.append(
                f"{name} has fewer than {_FEW} pictures of {', '.join(few[:5])}: what is measured on them says little."
            )
    return warnings


class _Shown:
    """The findings that the page shows, by place."""

    def __init__(self, made: Plan, kept: Sequence[Finding]) -> None:
        by_path = _by_path(made)
        self.rejects: dict[str, list[Finding]] = defaultdict(list)
        for item in made.findings:
            is_shown = not item.is_kept and item.reason not in findings.COPIES
            if is_shown and len(self.rejects[item.reason]) < facts.MAX_REJECTS:
                self.rejects[item.reason].append(item)
        conflicts = [(conflict.first, conflict.second) for conflict in made.conflicts]
        conflicts += [pair for pair in made.exact_pairs if by_path[pair[1]].reason == Reason.LABEL_CONFLICT]
        self.conflicts = _join(conflicts, by_path)
        in_conflict = {path for pair in conflicts for path in pair}
        left_out = [pair for pair in made.exact_pairs if by_path[pair[1]].reason == Reason.DUPLICATE]
        self.exact = _join(left_out, by_path)
        self.near = _join([pair for pair in made.near_pairs if not in_conflict & {*pair}], by_path)
        self.notable = {
            title: sorted(kept, key=lambda item: (_score(item, field), item.path))[: facts.MAX_NOTABLE]
            for title, (_, field, _) in _NOTABLE.items()
        }

    def all_pictures(self) -> Iterable[Finding]:
        """Every finding that needs a thumbnail; some more than once."""
        for items in (*self.rejects.values(), *self.notable.values()):
            yield from items
        for groups in (self.conflicts, self.exact, self.near):
            for group in groups[: facts.MAX_GROUPS]:
                yield from group[: facts.MAX_COPIES]


def _by_path(made: Plan) -> dict[str, Finding]:
    """The findings but those of names that are not valid, which are shown as another file may really be called."""
    return {item.path: item for item in made.findings if item.reason != Reason.BAD_NAME}


def _join(pairs: Sequence[tuple[str, str]], by_path: Mapping[str, Finding]) -> list[list[Finding]]:
    paths = sorted({path for pair in pairs for path in pair})
    keys = join_groups({path: path for path in paths}, pairs, order=str.encode)
    groups: dict[str, list[Finding]] = defaultdict(list)
    for path in paths:
        groups[keys[path]].append(by_path[path])
    return list(groups.values())


def _score(item: Finding, field: str | None) -> float:
    return getattr(item, field) if field else min(item.width / item.height, item.height / item.width)


def _sample(item: Finding, thumbnails: Mapping[str, bytes | None], *, measured: str = "", limit: str = "") -> Sample:
    return Sample(item.path, item.class_name, thumbnails.get(item.path), item.split, measured, limit)


def _copies(groups: Sequence[Sequence[Finding]], thumbnails: Mapping[str, bytes | None], outcome: str) -> Copies:
    shown = tuple(
        CopyGroup(tuple(_sample(item, thumbnails) for item in group[: facts.MAX_COPIES]), len(group))
        for group in groups[: facts.MAX_GROUPS]
    )
    return Copies(outcome, shown, len(groups), sum(len(group) for group in groups))


def _notable(
    title: str, items: Sequence[Finding], kept: Sequence[Finding], thumbnails: Mapping[str, bytes | None]
) -> Notable:
    note, field, words = _NOTABLE[title]
    samples = tuple(
        replace(
            _sample(item, thumbnails),
            measured=f"{words}{_score(item, field):.2f}",
            is_flagged=note in item.notes.split(),
        )
        for item in items
    )
    return Notable(title, samples, f"below {quality.LIMITS[note]}", sum(note in i.notes.split() for i in kept))


def _count_classes(made: Plan, result: Manifest) -> dict[str, ClassCounts]:
    kept: dict[str, Counter[str]] = defaultdict(Counter)
    rejected: dict[str, Counter[str]] = defaultdict(Counter)
    for item in made.findings:
        if item.is_kept:
            kept[item.class_name][item.split] += 1
        else:
            rejected[item.class_name][item.reason] += 1
    others = [name for name in rejected if name not in result.class_names]
    return {name: ClassCounts(kept[name], rejected[name]) for name in (*result.class_names, *sorted(others))}


def _describe_split(config: Config, made: Plan, result: Manifest) -> SplitRule:
    held_out = {"validation": config.split.validation, "test": config.split.test}
    asked = {"train": 1 - sum(held_out.values()), **held_out}
    used = {name: share for name, share in asked.items() if share > 0 or result.splits[name].num_examples}
    num_groups = {name: result.splits[name].num_groups for name in used}
    rule = made.rule + (", joined where pictures are near copies" if made.near_pairs else "")
    if not made.given:
        return SplitRule(used, num_groups, config.split.seed, rule)
    used = {name: info.num_examples / max(1, result.num_examples) for name, info in result.splits.items()}
    return SplitRule(used, dict.fromkeys(used, 0) | num_groups, config.split.seed, rule, made.given)


def _describe_origin(config: Config, result: Manifest, command: str) -> Origin:
    digests = {"sources": result.sources_sha256, "config": result.config_sha256, "records": result.digest}
    shards = tuple(shard for info in result.splits.values() for shard in info.shards)
    return Origin(command, __version__, digests, settings.as_yaml(config, "data", "clean", "split", "records"), shards)


def _describe_probe(found: Sequence[Shortcut]) -> Probe:
    if not found:
        return Probe(skipped="it takes two classes with ten groups or more")
    rows = tuple(
        ProbeRow(
            item.feature,
            item.balanced_accuracy,
            *item.interval,
            item.chance,
            "gives the class away" if item.is_warning else "does not give the class away",
            item.is_warning,
        )
        for item in found
    )
    return Probe(rows, tuple(shortcuts.describe(found)))

"""What the data report shows of a build: the facts, and the pictures that are worth a look.

It makes no HTML: page.py does.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness import __version__
from harness.base.text import shorten
from harness.config import settings
from harness.config.schema import Config
from harness.dataset.curation import findings
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import BY_ITSELF
from harness.dataset.curation.plan import Plan
from harness.dataset.images import quality
from harness.dataset.images.rejection import Reason, advise
from harness.dataset.records.manifest import Manifest
from harness.dataset.report import corrected_labels, data_warnings, facts, selection, shortcuts, wide_pictures
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
    "color_profile": "colours were converted to sRGB from the profile in the file",
    "color_profile_unused": "the profile in the file is damaged or not one of such pixels: colours as they are",
    **{f"{bits}_bit": f"{bits} bits became 8, as clean.range says" for bits in (16, 32)},
    "clipped": "values outside clean.range became black or white",
    "several_frames": "the first frame was used",
    "wrong_extension": "the name says another format than the content, which was read as what it is",
    "symbolic_link": "the link was followed",
    "no_end_marker": "a JPEG without its end marker, all of whose pixels are there: kept",
    "trailing_bytes": "bytes after the end of the picture were left out",
    "salvaged": "damage that decoders get over: kept, as clean.salvaged asks",
    "label_conflict": "a copy has another class: kept, as clean.label_conflicts asks",
    "leak": "copies of it, or others of its group, are in another of the given splits: kept, as split.leaks asks",
    "moved": "others of its group are in another of the given splits: moved there, as split.leaks asks",
    "near_conflict": "a near copy has another class: kept, as clean.near_conflicts asks; look at both",
    **{name: f"below cleanvision's limit of {limit}: kept, look at it" for name, limit in quality.LIMITS.items()},
}
_DROPPED = "Nobody can say which label is right: none of them is kept."
_ONE_SIDE = ", on one side of the split"
_KEPT = "All are kept under their classes, as {} asks."
_EVIDENCE = "A label may be wrong, or a small thing decides, as a scratch does on parts before a fixed camera."
# Of a policy that stops a build there are none in what was built.
_CONFLICT_OUTCOMES = {"drop": _DROPPED, "keep": _KEPT.format("clean.label_conflicts"), "fail": ""}
_NEAR_OUTCOMES = {"drop": _DROPPED, "keep": f"{_KEPT.format('clean.near_conflicts')} {_EVIDENCE}", "fail": ""}
_EXACT_OUTCOMES = {
    False: "The first by path is kept, the others are left out.",
    True: "The first by path is kept in each of the given splits, the others are left out.",
}
_FEW, _IMBALANCE = 10, 10
_MOST_NAMED = 5  # classes in a sentence
_MANY_REJECTED = 0.05  # share of all files
_TOLD_ELSEWHERE = (*findings.COPIES, Reason.MISSING, Reason.UNLISTED, Reason.UNLABELLED, Reason.LEFT_OUT)
_STRETCHED_SHARE = 0.25  # of all pictures

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
    shown = selection.Shown(made, kept)
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
            fit=result.fit,
            wide=wide_pictures.describe_levels(made, result),
        ),
        origin=_describe_origin(config, result, command),
        rejects={
            reason: tuple(_sample(item, thumbnails, measured=item.measured, limit=item.limit) for item in items)
            for reason, items in shown.rejects.items()
        },
        advice={
            reason: " ".join(dict.fromkeys(advise(Reason(reason), item.measured) for item in items))
            for reason, items in shown.rejects.items()
        },
        conflicts=_copies(shown.conflicts, thumbnails, _CONFLICT_OUTCOMES[config.clean.label_conflicts]),
        near_conflicts=replace(
            _copies(shown.near_conflicts, thumbnails, _NEAR_OUTCOMES[config.clean.near_conflicts]),
            num_pictures=shown.num_in_near_conflict,
            noun="pair",
        ),
        exact_copies=_copies(shown.exact, thumbnails, _EXACT_OUTCOMES[bool(made.leaks)]),
        near_duplicates=_copies(shown.near, thumbnails, f"All are kept{_ONE_SIDE if not made.leaks else ''}."),
        notable=tuple(_notable(title, items, kept, thumbnails) for title, items in shown.notable.items()),
        notes=Counter(note for item in kept for note in item.notes.split()),
        note_meanings=NOTE_MEANINGS,
        probe=_describe_probe(found_shortcuts, len(result.class_names)),
        corrected=corrected_labels.gather(made.findings),
        lines=made.lines,
        warnings=result.warnings,
    )


def list_warnings(config: Config, made: Plan, result: Manifest, found_shortcuts: Sequence[Shortcut]) -> list[str]:
    """Returns what a person should know before training, a sentence each."""
    warnings = shortcuts.describe(found_shortcuts)
    warnings += data_warnings.describe_conflicts(config.clean, made.conflicts, has_leaks=bool(made.leaks))
    if made.leaks:
        alike = " If near copies are different things that look alike: clean.near_copies: ignore." * bool(
            made.near_pairs
        )
        cure = "To put each group into one split, set split.leaks: move."
        warnings.append(f"{made.leaks.describe()}. {cure}{alike}")
    warnings += corrected_labels.list_warnings(corrected_labels.gather(made.findings), config.clean.labels)
    warnings += made.warnings
    rejects = [item for item in made.findings if not item.is_kept and item.reason not in _TOLD_ELSEWHERE]
    num_files = sum(item.reason != Reason.MISSING for item in made.findings)
    if len(rejects) > _MANY_REJECTED * num_files:
        warnings.append(f"{len(rejects)} of {num_files} files are rejected: {findings.summarise_rejects(rejects)}")
    kept = [item for item in made.findings if item.is_kept]
    counts = Counter(item.class_name for item in kept)
    (most, num_most), (least, num_least) = counts.most_common()[0], counts.most_common()[-1]
    if num_most > _IMBALANCE * num_least:
        warnings.append(
            f"the classes are far from even: {num_most} of {shorten(most)}, {num_least} of {shorten(least)}."
        )
    shares = _list_shares(config).items()
    asked = [name for name, share in shares if share > 0 or name in made.given]
    if config.split.group_by == "auto" and made.rule == BY_ITSELF and not made.given:
        warnings += data_warnings.describe_namesakes(kept) or data_warnings.describe_series(kept)
    warnings += data_warnings.describe_split(selection.find_near_groups(made), kept, asked, made.given)
    warnings += wide_pictures.list_warnings(made, result)
    if warning := _describe_stretching(kept, result):
        warnings.append(warning)
    for name, info in result.splits.items():
        few = [label for label in made.class_names if 0 < info.class_counts[label] < _FEW]
        if few and name != "train":
            warnings.append(
                f"{name} has fewer than {_FEW} pictures of {_name_few(few)}: what is measured on them says little."
            )
    return warnings


def _name_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(shorten, names[:_MOST_NAMED])) + more


def _describe_stretching(kept: Sequence[Finding], result: Manifest) -> str:
    num = sum(max(item.width, item.height) > facts.OBLONG * min(item.width, item.height) for item in kept)
    if result.fit != "stretch" or num < _STRETCHED_SHARE * len(kept):
        return ""
    return (
        f"stretching to a square changes the proportions of {num} of {len(kept)} pictures by more than a quarter. If "
        "shapes matter, set records.fit: crop (the square in the middle) or pad (bars, records.pad_color)."
    )


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
    note, field, words = selection.NOTABLE[title]
    samples = tuple(
        replace(
            _sample(item, thumbnails),
            measured=f"{words}{selection.score(item, field):.2f}",
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
    asked = _list_shares(config)
    used = {name: share for name, share in asked.items() if share > 0 or result.splits[name].num_examples}
    num_groups = {name: result.splits[name].num_groups for name in used}
    rule, unseen = made.describe_groups(), made.describe_unseen(config.clean)
    if not made.given:
        return SplitRule(used, num_groups, config.split.seed, rule, unseen=unseen)
    used = {name: info.num_examples / max(1, result.num_examples) for name, info in result.splits.items()}
    return SplitRule(used, dict.fromkeys(used, 0) | num_groups, config.split.seed, rule, made.given, unseen)


def _list_shares(config: Config) -> dict[str, float]:
    held_out = {"validation": config.split.validation, "test": config.split.test}
    return {"train": 1 - sum(held_out.values()), **held_out}


def _describe_origin(config: Config, result: Manifest, command: str) -> Origin:
    digests = {"sources": result.sources_sha256, "config": result.config_sha256, "records": result.digest}
    shards = tuple(shard for info in result.splits.values() for shard in info.shards)
    return Origin(command, __version__, digests, settings.as_yaml(config, "data", "clean", "split", "records"), shards)


def _describe_probe(found: Sequence[Shortcut], num_classes: int) -> Probe:
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
    num = found[0].num_classes
    some = f"{num} of {num_classes} classes, those of ten groups or more"
    classes = f"all {num} classes" if num == num_classes else some
    return Probe(rows, tuple(shortcuts.describe(found)), classes=classes)

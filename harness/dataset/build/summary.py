"""What a build has made, from its plan and its shards: the manifest, the findings with their places, and a summary.

It returns them; builder.py writes them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from harness.base import files
from harness.base.storage import Folder
from harness.base.text import MOST_ROWS, format_table, shorten
from harness.config.dataset_sections import CleanConfig, DataConfig
from harness.config.schema import Config
from harness.dataset.build.shards import Layout, Shard
from harness.dataset.curation import cleaner, findings
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.plan import Plan
from harness.dataset.images.rejection import Reason
from harness.dataset.records.manifest import Manifest, SplitInfo
from harness.dataset.report import corrected_labels

REPORT_NAME = "report.html"
_OF_SOURCES = ("labels", "classes", "follow_links")  # settings of `data`, said where they are not the defaults
_MOST_COLUMNS = 10  # classes up to which each has a column
_MOST_LETTERS = 20  # of a class, where only some are named
_OF_CAMERAS = ("jpeg", "heic", "avif", "webp")
_BITS_OF_PHOTOGRAPHS = 5.5  # entropy of grey levels
_FOR_PHOTOGRAPHS = "configs/photos.yaml"


def make_manifest(
    config: Config, made: Plan, layout: Layout, written: Mapping[str, Shard], sources_sha256: str
) -> Manifest:
    """Returns the manifest of the shards in `written`, by file name."""
    splits = {}
    for name, planned in layout.items():
        items = [item for shard in planned for item in shard.items]
        counts = Counter(item.class_name for item in items)
        splits[name] = SplitInfo(
            num_examples=len(items),
            num_groups=len({item.group for item in items}),
            class_counts={label: counts[label] for label in made.class_names},
            shards=tuple(written[shard.file].info for shard in planned),
        )
    rejected = Counter(item.reason for item in made.findings if not item.is_kept)
    return Manifest(
        class_names=made.class_names,
        image_size=config.records.image_size,
        encoding=config.records.encoding,
        splits=splits,
        rejected=dict(sorted(rejected.items())),
        images=config.data.images.as_posix().encode("utf-8", "backslashreplace").decode(),
        sources_sha256=sources_sha256,
        config_sha256=digest_config(config),
        rules_sha256=cleaner.digest_rules(config),
        config=list_settings(config),
        fit=config.records.fit,
        pad_color=config.records.pad_color,
        range=cleaner.find_range(made.findings, config.clean),
    )


def list_settings(config: Config) -> dict[str, dict[str, object]]:
    """Returns the settings that records follow from, as the manifest says them."""
    default, given = DataConfig().model_dump(mode="json"), config.sections("data")["data"]
    data = {name: given[name] for name in _OF_SOURCES if given[name] != default[name]}
    return {**config.sections("clean", "split", "records"), **({"data": data} if data else {})}


def digest_config(config: Config) -> str:
    """A digest of the settings that records follow from."""
    classes, sections = config.data.classes, config.sections("clean", "split", "records")
    if config.clean.labels is None:  # so that records of before there was the setting stay what they are
        del sections["clean"]["labels"]
    if classes is None:
        return files.digest_json(sections)
    in_order = list(classes.items()) if isinstance(classes, dict) else classes  # which is that of the labels
    return files.digest_json([sections, in_order])


def locate_findings(made: Plan, layout: Layout, written: Mapping[str, Shard]) -> Iterator[Finding]:
    """Yields the findings of the plan, which say now in which shard the kept pictures lie."""
    places = {
        item.path: (shard.file, offset)
        for planned in layout.values()
        for shard in planned
        for item, offset in zip(shard.items, written[shard.file].offsets)
    }

    def located(item: Finding) -> Finding:
        file, offset = places[item.path] if item.is_kept else ("", 0)
        return item._replace(file=file, offset=offset, length=item.length if file else 0)

    return map(located, made.findings)


def count(result: Manifest) -> str:
    """Returns how many pictures each split has, in words."""
    return ", ".join(f"{info.num_examples} {name}" for name, info in result.splits.items() if info.num_examples)


def describe(result: Manifest, target: Folder, made: Plan, policies: CleanConfig) -> str:
    """Returns the tables and lines that a person sees at the end."""
    has_few = len(result.class_names) <= _MOST_COLUMNS
    names = [shorten(name) for name in result.class_names] if has_few else ["fewest of a class", "most of a class"]
    rows: list[Sequence[object]] = [("split", "pictures", "groups", "shards", *names)]
    for name, info in result.splits.items():
        if info.num_examples:
            counts = [info.class_counts[label] for label in result.class_names]
            shown = counts if has_few else [min(counts), max(counts)]
            rows.append((name, info.num_examples, info.num_groups, len(info.shards), *shown))
    groups = f"groups: {made.describe_groups()}"
    if unseen := made.describe_unseen(policies):
        groups += f"\n{unseen}"
    across = sum(not conflict.is_exact for conflict in made.conflicts)
    if across:
        pairs = "1 pair" if across == 1 else f"{across} pairs"
        kept = "kept" if made.leaks else "kept on one side of the split"
        outcome = "left out" if policies.near_conflicts == "drop" else kept
        groups += f"\nnear copies of different classes: {pairs}, {outcome}"
    lines = "\n".join(
        [_describe_labels(result.class_names), *_describe_given(result, made), groups, *_describe_unread(made.findings)]
    )
    if policies.labels:
        lines += f"\n{corrected_labels.tabulate(corrected_labels.gather(made.findings), policies.labels)}"
    where = f"records: {target}   every verdict: {target / REPORT_NAME}"
    if _are_photographs(made.findings):
        where += (
            "\nThese look like photographs. The default settings are for drawings, and turn all colours around; train "
            f"with\n  --config {_FOR_PHOTOGRAPHS}"
        )
    return f"{findings.summarise(made.findings, result.class_names)}\n\n{format_table(rows)}\n\n{lines}\n{where}"


def _are_photographs(found: Sequence[Finding]) -> bool:
    """Whether most pictures are of a camera: by their format, and by the entropy of their grey levels.

    Half of the sample's drawings have less than 3.3 bits, half of 480 sections of ten photographs more than 6.6.
    """
    kept = [item for item in found if item.is_kept]
    num_of_cameras = sum(item.format in _OF_CAMERAS for item in kept)
    return 2 * num_of_cameras > len(kept) and median(item.information for item in kept) > _BITS_OF_PHOTOGRAPHS / 10


def _describe_labels(class_names: Sequence[str]) -> str:
    """Returns the labels with their classes; of many the first three and the last."""
    shown = [f"{label} {shorten(name)}" for label, name in enumerate(class_names)]
    if len(shown) > _MOST_COLUMNS:
        last = len(class_names) - 1
        shown = [f"{label} {shorten(class_names[label], _MOST_LETTERS)}" for label in (0, 1, 2, last)]
        shown.insert(3, "…")
    return f"labels: {', '.join(shown)}"


def _describe_given(result: Manifest, made: Plan) -> Iterator[str]:
    """Yields what became of splits that were given, a line each."""
    if made.given:
        cut = [name for name, info in result.splits.items() if info.num_examples and name not in made.given]
        yield f"splits: {', '.join(made.given)} as given" + "".join(f", {name} cut from train" for name in cut)
    if made.num_moved:
        yield f"moved: {made.num_moved} pictures to the held-out split that others of their group are in"
    if made.leaks:
        yield f"leaks: {made.leaks.count()}"


def _describe_unread(found: Sequence[Finding]) -> list[str]:
    """A line for each format that is not read: how many files, and what to do."""
    unread = Counter((item.measured, item.limit) for item in found if item.reason == Reason.UNSUPPORTED_FORMAT)
    return [f"not read: {num} {name}; expected {advice}" for (name, advice), num in unread.most_common(MOST_ROWS)]

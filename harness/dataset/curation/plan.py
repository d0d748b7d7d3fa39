"""From findings to which pictures stay, and in which split: copies judged, groups joined, splits assigned.

Everything here is a function of the findings and the config, so that every process of a build finds the same plan.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.errors import ConfigError, DataError
from harness.base.storage import Folder
from harness.config.dataset_sections import CleanConfig, SplitConfig
from harness.config.schema import Config
from harness.dataset.curation import duplicates, findings, splits
from harness.dataset.curation.duplicates import Conflict
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.fingerprints import LEAST_SIDE
from harness.dataset.curation.groups import FOLDER, Groups, assign_groups, join_groups
from harness.dataset.curation.splits import Leaks
from harness.dataset.images.rejection import Reason
from harness.dataset.listing.listed import Listing

# Notes of pictures whose group lies in several of the given splits, and of those that were moved so that it does not.
LEAK, MOVED = "leak", "moved"
_FEW_UNSEEN = 0.05  # share of the pictures without a fingerprint that is not told
FindNearDuplicates = Callable[[Sequence[Finding]], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Plan:
    """What becomes of each picture, and how that came about.

    `given` names the splits that folders or a table give, `leaks` says what lies in several of them, `num_moved` how
    many pictures were taken out of one for that reason. `lines` are those of the listing, `warnings` its own and those
    of the groups.
    """

    findings: tuple[Finding, ...]
    class_names: tuple[str, ...]
    rule: str
    exact_pairs: tuple[tuple[str, str], ...]
    near_pairs: tuple[tuple[str, str], ...]
    conflicts: tuple[Conflict, ...]
    given: tuple[str, ...] = ()
    leaks: Leaks | None = None
    num_moved: int = 0
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def describe_groups(self) -> str:
        """Returns by what rule pictures are grouped, and what near copies do to that."""
        kept = {item.path for item in self.findings if item.is_kept}
        near = len({path for pair in self.near_pairs for path in pair if kept.issuperset(pair)})
        return self.rule + (f", joined where pictures are near copies ({near:,} are)" if near else "")

    def describe_unseen(self, policies: CleanConfig) -> str:
        """Returns among how many pictures no near copies were looked for, "" where these are few or none were asked."""
        kept = [item for item in self.findings if item.is_kept]
        num_unseen = sum(not any(item.fingerprint) for item in kept)
        if num_unseen <= _FEW_UNSEEN * len(kept) or policies.near_copies != "group":
            return ""
        return (
            f"near copies: not looked for among {num_unseen:,} of {len(kept):,} pictures, with a side below "
            f"{LEAST_SIDE} pixels or next to no structure"
        )


def make_plan(
    found: Sequence[Finding], listing: Listing, config: Config, find_near_duplicates: FindNearDuplicates
) -> Plan:
    """Returns the plan of a build.

    Args:
      found: every finding, in the order of the paths, as listed: with the split and group that are given, or "".
      listing: its classes are used, empty ones too.
      config: its sections `clean` and `split` are used.
      find_near_duplicates: returns the pairs of near duplicates among findings, as paths.

    Raises:
      DataError: there are label conflicts and the policy for their kind is "fail", a group would straddle two splits,
        a class has no usable picture, or a split that is asked for has none.
    """
    policies, folder = config.clean, str(config.data.images)
    copies = duplicates.find_equal(found)
    duplicates.check_labels(copies, policies, folder)
    if config.clean.near_copies == "group":
        copies = duplicates.add_near(copies, find_near_duplicates(copies.distinct))
        duplicates.check_labels(copies, policies, folder)
    exact_pairs, near_pairs = tuple(copies.exact_pairs), tuple(copies.near_pairs)
    conflicts = tuple(copies.find_conflicts(policies))
    links = [*exact_pairs, *near_pairs, *((conflict.first, conflict.second) for conflict in conflicts)]
    judged = duplicates.judge(found, copies, policies)
    given = tuple(name for name in splits.SPLITS if any(item.split == name for item in found))
    if config.split.leaks != "move":
        judged = _keep_in_each_split(judged)
    judged, grouped = _place(judged, links, listing, config)
    _check_usable(judged, listing, config.data.images)
    _check_held_out(judged, given, grouped.rule, config)
    leaks = splits.find_leaks({item.path: (item.group, item.split) for item in judged if item.is_kept})
    if leaks and config.split.leaks == "fail":
        raise DataError(
            f"{leaks.describe()}. Remove one of them, or set split.leaks to report (keep the splits as they are) or "
            "move (put what belongs together into one)."
        )
    if leaks:
        judged = [item.noted(LEAK) if item.is_kept and item.group in leaks.keys else item for item in judged]
    pairs = (exact_pairs, near_pairs, conflicts)
    num_moved = sum(MOVED in item.notes.split() for item in judged)
    said = (listing.lines, (*find_doubts(listing, config.split), *listing.warnings, *grouped.warnings))
    return Plan(tuple(judged), listing.class_names, grouped.rule, *pairs, given, leaks, num_moved, *said)


def find_doubts(listing: Listing, split: SplitConfig) -> tuple[str, ...]:
    """Returns what speaks against the classes of a listing; nothing if the folders in them are groups."""
    return (listing.doubt,) if listing.doubt and split.group_by != FOLDER else ()


def _keep_in_each_split(judged: Sequence[Finding]) -> list[Finding]:
    """Takes back that a picture is a duplicate where the one it equals is in another of the given splits.

    A split that is given keeps its pictures: whoever measures on it compares with others who did.
    """
    seen = {(item.pixels_sha256, item.class_name, item.split) for item in judged if item.is_kept}

    def kept(item: Finding) -> Finding:
        key = (item.pixels_sha256, item.class_name, item.split)
        if item.reason != Reason.DUPLICATE or not item.split or key in seen:
            return item
        seen.add(key)
        return item._replace(verdict=findings.KEPT, reason="", measured="", limit="")

    return [kept(item) for item in judged]


def _place(
    found: Sequence[Finding], links: Iterable[tuple[str, str]], listing: Listing, config: Config
) -> tuple[list[Finding], Groups]:
    """Gives every kept finding its group and split.

    A copy that is left out still joins the groups of the pictures that it equals, or nearly.
    """
    kept = [item for item in found if item.is_kept]
    compared = [item.path for item in found if item.is_kept or item.reason in findings.COPIES]
    grouped = assign_groups(compared, config.data.images, config.split.group_by, listing=listing)
    keys = grouped.keys
    seed, kept_keys = config.split.seed, {keys[item.path] for item in kept}
    keys = join_groups(keys, links, order=lambda key: bytes([key not in kept_keys]) + splits.hash_key(seed, key))
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for item in kept:
        groups[keys[item.path]][item.class_name] += 1
    given = {item.path: item.split for item in found if item.split and item.path in keys}
    if given:
        split_of = _complete_given(kept, given, keys, config.split)
    else:
        fixed = _read_previous(config.split.previous, keys) if config.split.previous else {}
        sides = splits.assign_splits(
            groups, validation=config.split.validation, test=config.split.test, seed=seed, fixed=fixed
        )
        split_of = {item.path: sides[keys[item.path]] for item in kept}
    present = set(given.values())

    def placed(item: Finding) -> Finding:
        if not item.is_kept:
            return item._replace(group="", split="")
        split = split_of[item.path]  # what is cut from train goes where no given split is
        item = item.noted(MOVED) if item.split and split != item.split and split in present else item
        return item._replace(group=keys[item.path], split=split)

    return [placed(item) for item in found], grouped


def _complete_given(
    kept: Sequence[Finding], given: Mapping[str, str], keys: Mapping[str, str], config: SplitConfig
) -> dict[str, str]:
    """Returns the split of each path where some come with one."""
    if config.previous is not None:
        raise ConfigError(
            f"split.previous is {config.previous}, but the pictures come with splits, which are kept. Leave "
            "split.previous out."
        )
    return splits.complete_given(
        {item.path: (keys[item.path], item.class_name) for item in kept},
        given,
        [(keys[path], split) for path, split in given.items()],
        validation=config.validation,
        test=config.test,
        seed=config.seed,
        move=config.leaks == "move",
    )


def file_of_previous(previous: Folder) -> Folder:
    """Returns the findings of the records that `split.previous` names by their folder or their manifest."""
    return (previous if previous.is_dir() else previous.parent) / findings.FILE_NAME


def _read_previous(previous: Folder, keys: Mapping[str, str]) -> dict[str, str]:
    """Returns the split that an earlier build gave each group, by the group's pictures and by its key.

    Raises:
      DataError: the records cannot be read, or had pictures of what is one group now in two splits.
    """
    path = file_of_previous(previous)
    try:
        before = [item for item in findings.read(path) if item.is_kept]
    except (OSError, ValueError) as error:
        raise DataError(
            f"split.previous needs the {findings.FILE_NAME} of a records folder; {path} cannot be read: {error}."
        ) from None
    group_splits = {item.group: item.split for item in before}
    fixed = {key: group_splits[key] for key in set(keys.values()) if key in group_splits}
    chosen_by: dict[str, str] = {}
    for item in before:
        key = keys.get(item.path)
        if key is None:
            continue
        if fixed.setdefault(key, item.split) != item.split:
            other = chosen_by.get(key, "others")
            raise DataError(
                f"{item.path} was in {item.split} and {other} in {fixed[key]} of {previous}, but they are one group "
                f"now ({key!r}): the split cannot be kept without a leak. Build without split.previous."
            )
        chosen_by.setdefault(key, item.path)
    return fixed


def _check_usable(found: Sequence[Finding], listing: Listing, folder: Folder) -> None:
    kept = Counter(item.class_name for item in found if item.is_kept)
    empty = [name for name in listing.class_names if not kept[name]]
    if empty:
        why = findings.summarise_rejects([item for item in found if item.class_name == empty[0]])
        others = len(empty) - 1
        more = f" {others} more class{'es have' if others > 1 else ' has'} none either." if others else ""
        cure = f"remove its {'folder' if listing.depth else 'rows'}, or name the others with --data.classes"
        raise DataError(
            f"the class {empty[0]!r} of {folder} has no usable picture: {why} If the class is not meant, {cure}.{more}"
        )


def _check_held_out(found: Sequence[Finding], given: Collection[str], rule: str, config: Config) -> None:
    """Refuses that a split which is asked for has no picture: whoever trains would hear of it hours later."""
    kept, wanted = [item for item in found if item.is_kept], config.split
    present = {item.split for item in kept}
    if splits.TRAIN not in present:  # a set to measure on, whose splits are given
        return
    for name, share in ((splits.VALIDATION, wanted.validation), (splits.TEST, wanted.test)):
        if not share or name in present:
            continue
        if name in given:
            why = findings.summarise_rejects(found)
            raise DataError(f"{config.data.images} gives a split {name}, of which no picture is usable: {why}")
        num_groups = len({item.group for item in kept})
        groups = "1 group" if num_groups == 1 else f"{num_groups:,} groups"
        raise DataError(
            f"no picture is left for {name}: of each class of {config.data.images} at least one group is for training, "
            f"and its {len(kept):,} pictures are {groups} ({rule}). {_cure_few(kept, num_groups, wanted)} Without "
            f"{name}: --split.{name} 0{', and no training takes these records' if name == splits.VALIDATION else ''}."
        )


def _cure_few(kept: Sequence[Finding], num_groups: int, wanted: SplitConfig) -> str:
    """What gives a split pictures where there are too few groups for it."""
    if wanted.previous is not None:
        return f"split.previous keeps all of them where {wanted.previous} has them: leave it out, or add pictures."
    if num_groups == len(kept):
        return "Add pictures."
    if 2 * sum(bool(item.near_copy_of) for item in kept) > len(kept):
        return "Set clean.near_copies: ignore if these are different things that look alike, or add pictures of others."
    return (
        f"Let split.group_by, which is {wanted.group_by}, make smaller groups (none: every picture by itself), or add "
        "pictures of other groups."
    )

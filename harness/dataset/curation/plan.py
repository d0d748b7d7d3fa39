"""From findings to which pictures stay, and in which split: copies judged, groups joined, splits assigned.

Everything here is a function of the findings and the config, so that every process of a build finds the same plan.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.config.schema import Config
from harness.dataset.curation import duplicates, findings, splits
from harness.dataset.curation.duplicates import Conflict
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import assign_groups, join_groups
from harness.dataset.images.rejection import Reason
from harness.dataset.listing.listed import Listing

FindNearDuplicates = Callable[[Sequence[Finding]], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Plan:
    """What becomes of each picture, and how that came about."""

    findings: tuple[Finding, ...]
    class_names: tuple[str, ...]
    rule: str
    exact_pairs: tuple[tuple[str, str], ...]
    near_pairs: tuple[tuple[str, str], ...]
    conflicts: tuple[Conflict, ...]


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
      DataError: there are label conflicts and the policy is "fail", a group would straddle two splits, or a class has
        no usable picture.
    """
    policy, folder = config.clean.label_conflicts, str(config.data.images)
    copies = duplicates.find_equal(found)
    duplicates.check_labels(copies, policy, folder)
    if config.clean.near_copies == "group":
        copies = duplicates.add_near(copies, find_near_duplicates(copies.distinct))
        duplicates.check_labels(copies, policy, folder)
    exact_pairs, near_pairs, conflicts = tuple(copies.exact_pairs), tuple(copies.near_pairs), tuple(copies.conflicts)
    links = [*exact_pairs, *near_pairs, *((conflict.first, conflict.second) for conflict in conflicts)]
    judged, rule = _place(duplicates.judge(found, copies, policy), links, config)
    _check_usable(judged, listing.class_names, config.data.images)
    return Plan(tuple(judged), listing.class_names, rule, exact_pairs, near_pairs, conflicts)


def _place(found: Sequence[Finding], links: Iterable[tuple[str, str]], config: Config) -> tuple[list[Finding], str]:
    """Gives every kept finding its group and split.

    A duplicate, which is left out, still joins its group with that of the picture it equals.
    """
    kept = [item for item in found if item.is_kept]
    compared = [item.path for item in found if item.is_kept or item.reason == Reason.DUPLICATE]
    keys, rule = assign_groups(compared, config.data.images, config.split.group_by)
    keys |= {item.path: item.group for item in found if item.group and item.path in keys}
    seed, kept_keys = config.split.seed, {keys[item.path] for item in kept}
    keys = join_groups(keys, links, order=lambda key: bytes([key not in kept_keys]) + splits.hash_key(seed, key))
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for item in kept:
        groups[keys[item.path]][item.class_name] += 1
    fixed = _read_previous(config.split.previous, keys) if config.split.previous else {}
    sides = splits.assign_splits(
        groups, validation=config.split.validation, test=config.split.test, seed=seed, fixed=fixed
    )

    def placed(item: Finding) -> Finding:
        if not item.is_kept:
            return item._replace(group="", split="")
        return item._replace(group=keys[item.path], split=sides[keys[item.path]])

    return [placed(item) for item in found], rule


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


def _check_usable(found: Sequence[Finding], classes: Iterable[str], folder: Folder) -> None:
    kept = Counter(item.class_name for item in found if item.is_kept)
    for name in classes:
        if not kept[name]:
            reasons = Counter(item.reason for item in found if item.class_name == name)
            counts = (f"{count} {reason.replace('_', ' ')}" for reason, count in reasons.most_common())
            why = ", ".join(counts) or "no files"
            raise DataError(
                f"the class folder {folder / name} has no usable picture: {why}. Mend or remove the folder."
            )

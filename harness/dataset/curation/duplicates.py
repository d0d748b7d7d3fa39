"""Copies of one picture: kept once within a class, judged by the policies for label conflicts across classes.

First what equals what is gathered, which no verdict changes, then every picture is judged by all of it: no verdict
takes away what another one names. The pairs of near duplicates come from similarity_search.py and near_duplicates.py.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product

from harness.base.errors import DataError
from harness.config.dataset_sections import CleanConfig
from harness.dataset.curation.findings import CONFLICT_NOTES, Finding
from harness.dataset.images.rejection import Reason

_ONE_LABEL = "one class for one picture"


@dataclass(frozen=True)
class Conflict:
    """Two files of different classes that show one picture, or nearly."""

    first: str
    second: str
    is_exact: bool


@dataclass(frozen=True)
class Copies:
    """Which usable pictures show the same. Of equal ones in a class the first path stands for all.

    `by_pixels` has the pictures of each digest in the order of their paths, `near` the pairs of digests that are near
    duplicates.
    """

    by_pixels: Mapping[str, Sequence[Finding]]
    near: Sequence[tuple[str, str]] = ()

    @property
    def distinct(self) -> list[Finding]:
        """One picture of each digest, whatever its class, in the order of the paths."""
        return [copies[0] for copies in self.by_pixels.values()]

    @property
    def exact_pairs(self) -> list[tuple[str, str]]:
        """The first path of a class, and another of that class that equals it."""
        return [
            (firsts[copy.class_name].path, copy.path)
            for copies, firsts in self._equal()
            for copy in copies
            if copy is not firsts[copy.class_name]
        ]

    @cached_property
    def near_pairs(self) -> list[tuple[str, str]]:
        """The pairs of near duplicates, in all classes that have them."""
        return [(first.path, second.path) for first, second in self._near()]

    def find_conflicts(self, policies: CleanConfig) -> list[Conflict]:
        """Returns pairs of different classes: of equal pictures the first and each other class's first; then near ones.

        What is left out, since an equal picture has another class, says nothing of those that it is near.
        """
        found = []
        for _, firsts in self._equal():
            first, *others = sorted(firsts.values(), key=lambda item: item.path)
            found += [Conflict(first.path, other.path, is_exact=True) for other in others]
        left_out = self.find_left_out(policies)
        near = [
            Conflict(first.path, second.path, is_exact=False)
            for first, second in self._near()
            if first.class_name != second.class_name
            and left_out.isdisjoint((first.pixels_sha256, second.pixels_sha256))
        ]
        return found + near

    def find_left_out(self, policies: CleanConfig) -> set[str]:
        """Returns the digests whose pictures are left out, since they have several classes."""
        if policies.label_conflicts != "drop":
            return set()
        return {digest for digest, copies in self.by_pixels.items() if len({copy.class_name for copy in copies}) > 1}

    @cached_property
    def partners(self) -> Mapping[str, Sequence[str]]:
        """The digests that a digest's pictures nearly equal."""
        partners: dict[str, list[str]] = defaultdict(list)
        for first, second in self.near:
            partners[first].append(second)
            partners[second].append(first)
        return dict(partners)

    def find_firsts(self, digest: str) -> dict[str, Finding]:
        """Returns the first picture of each class."""
        return {copy.class_name: copy for copy in reversed(self.by_pixels[digest])}

    def _equal(self) -> Iterator[tuple[Sequence[Finding], Mapping[str, Finding]]]:
        for digest, copies in self.by_pixels.items():
            if len(copies) > 1:
                yield copies, self.find_firsts(digest)

    def _near(self) -> Iterator[tuple[Finding, Finding]]:
        for digests in self.near:
            firsts, others = (self.find_firsts(digest).values() for digest in digests)
            for first, second in product(firsts, others):
                yield (first, second) if first.path < second.path else (second, first)


def find_equal(found: Sequence[Finding]) -> Copies:
    """Gathers the pictures whose pixels are equal, whatever their files' names, formats and metadata."""
    by_pixels: dict[str, list[Finding]] = defaultdict(list)
    for finding in sorted((item for item in found if item.is_kept), key=lambda item: item.path):
        by_pixels[finding.pixels_sha256].append(finding)
    return Copies(by_pixels)


def add_near(copies: Copies, pairs: Sequence[tuple[str, str]]) -> Copies:
    """Adds near duplicates: pairs of paths among `copies.distinct`."""
    paths = {path for pair in pairs for path in pair}
    digests = {item.path: digest for digest, (item, *_) in copies.by_pixels.items() if item.path in paths}
    return Copies(copies.by_pixels, [(digests[first], digests[second]) for first, second in pairs])


def judge(found: Sequence[Finding], copies: Copies, policies: CleanConfig) -> list[Finding]:
    """Returns the findings with what becomes of copies.

    When equal pictures carry different classes nobody can say which label is right: all of them are rejected, or kept
    with a note, as `label_conflicts` asks. Pictures that nearly equal each other may differ in the very thing that
    decides, as a part with a scratch does from one without: `near_conflicts` is about those. Of equal pictures in one
    class all but the first path are rejected as duplicates otherwise, so that what a duplicate equals is kept. Near
    duplicates that are kept name each other.
    """
    judged: dict[str, Finding] = {}
    left_out = copies.find_left_out(policies)
    near_of: dict[str, list[Finding]] = {}
    for digest, alike in copies.by_pixels.items():
        if len(alike) > 1 or digest in copies.partners:
            firsts = copies.find_firsts(digest)
            partners = (copies.find_firsts(partner).values() for partner in copies.partners.get(digest, ()))
            near = sorted(chain.from_iterable(partners), key=lambda item: item.path)
            telling = [item for item in near if item.pixels_sha256 not in left_out]
            judged |= {copy.path: _judge_one(copy, firsts, telling, policies) for copy in alike}
            near_of |= dict.fromkeys((copy.path for copy in alike), near)
    for path, near in near_of.items():
        judged[path] = _name_near_copy(judged[path], [judged[item.path] for item in near])
    return [judged.get(item.path, item) if item.is_kept else item for item in found]


def _judge_one(
    finding: Finding, firsts: Mapping[str, Finding], near: Sequence[Finding], policies: CleanConfig
) -> Finding:
    equal = next((firsts[name] for name in sorted(firsts) if name != finding.class_name), None)
    alike = next((item for item in near if item.class_name != finding.class_name), None)
    first = firsts[finding.class_name]
    if policies.label_conflicts == "drop" and equal:
        return finding.rejected(Reason.LABEL_CONFLICT, f"equals {equal.path}", _ONE_LABEL)
    if policies.near_conflicts == "drop" and alike:
        return finding.rejected(Reason.LABEL_CONFLICT, f"nearly equals {alike.path}", _ONE_LABEL)
    if finding is not first:
        return finding.rejected(Reason.DUPLICATE, f"equals {first.path}", "one copy")
    for note, other in zip(CONFLICT_NOTES, (equal, alike)):
        finding = finding.noted(note) if other else finding
    return finding


def _name_near_copy(finding: Finding, near: Sequence[Finding]) -> Finding:
    """Names a near duplicate, one of the same class if there is one. A picture that is kept names one that is kept."""
    named = [item for item in near if item.is_kept or not finding.is_kept]
    if not named or finding.reason == Reason.DUPLICATE:
        return finding
    return finding._replace(near_copy_of=min(named, key=lambda item: item.class_name != finding.class_name).path)


def check_labels(copies: Copies, policies: CleanConfig, folder: str) -> None:
    """Stops at label conflicts, if that is the policy for their kind.

    Raises:
      DataError: there is a conflict of a kind whose policy is "fail"; `folder` is named.
    """
    conflicts = copies.find_conflicts(policies)
    exact = [conflict for conflict in conflicts if conflict.is_exact]
    if exact and policies.label_conflicts == "fail":
        raise DataError(
            f"{_name_first(exact, folder)} show one picture under two classes{_count_others(exact)}. Remove the wrong "
            "ones, or set clean.label_conflicts to drop (leave out both) or keep."
        )
    near = [conflict for conflict in conflicts if not conflict.is_exact]
    if near and policies.near_conflicts == "fail":
        raise DataError(
            f"{_name_first(near, folder)} show nearly one picture under two classes{_count_others(near)}. Remove the "
            "wrong ones, or set clean.near_conflicts to keep (both stay, on one side of the split) or drop (leave out "
            "both)."
        )


def _name_first(conflicts: Sequence[Conflict], folder: str) -> str:
    return f"{conflicts[0].first} and {conflicts[0].second} in {folder}"


def _count_others(conflicts: Sequence[Conflict]) -> str:
    if len(conflicts) == 1:
        return ""
    return ", and 1 more pair does" if len(conflicts) == 2 else f", and {len(conflicts) - 1:,} more pairs do"

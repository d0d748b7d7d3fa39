"""Copies of one picture: kept once within a class, judged by the policy for label conflicts across classes.

It compares digests only. The pairs of near duplicates come from similarity_search.py and near_duplicates.py.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.base.errors import DataError
from harness.dataset.curation.findings import Finding
from harness.dataset.images.rejection import Reason

Policy = Literal["fail", "drop", "keep"]
_ONE_LABEL = "one class for one picture"


@dataclass(frozen=True)
class Conflict:
    """Two files of different classes that show one picture."""

    first: str
    second: str
    is_exact: bool


def refuse_exact_copies(found: Sequence[Finding], policy: Policy, folder: str) -> tuple[list[Finding], list[Conflict]]:
    """Judges pictures whose pixels are equal, whatever their files' names, formats and metadata.

    Within one class all but the first path are rejected as duplicates. When equal pictures carry different classes
    nobody can say which label is right: all of them are rejected, or one of each class is kept, or it is an error.

    Raises:
      DataError: there is a label conflict and the policy is "fail"; `folder` is named.
    """
    by_digest: dict[str, list[Finding]] = defaultdict(list)
    for finding in sorted((item for item in found if item.is_kept), key=lambda item: item.path):
        by_digest[finding.pixels_sha256].append(finding)
    judged: dict[str, Finding] = {}
    conflicts: list[Conflict] = []
    for copies in by_digest.values():
        firsts = {copy.class_name: copy for copy in reversed(copies)}
        if len(firsts) > 1:
            kept = sorted(firsts.values(), key=lambda item: item.path)
            conflicts += [Conflict(kept[0].path, other.path, is_exact=True) for other in kept[1:]]
        for copy in copies:
            first = firsts[copy.class_name]
            other = next((item for name, item in sorted(firsts.items()) if name != copy.class_name), None)
            if other is not None and policy == "drop":
                judged[copy.path] = copy.rejected(Reason.LABEL_CONFLICT, f"equals {other.path}", _ONE_LABEL)
            elif copy is not first:
                judged[copy.path] = copy.rejected(Reason.DUPLICATE, f"equals {first.path}", "one copy")
            elif other is not None:
                judged[copy.path] = copy.noted("label_conflict")
    _fail_on(conflicts, policy, folder)
    return [judged.get(item.path, item) for item in found], conflicts


def judge_near_duplicates(
    found: Sequence[Finding], pairs: Sequence[tuple[str, str]], policy: Policy, folder: str
) -> tuple[list[Finding], list[Conflict]]:
    """Names each near duplicate's counterpart, and judges those of other classes as `refuse_exact_copies` does.

    Raises:
      DataError: as there.
    """
    partners: dict[str, list[str]] = defaultdict(list)
    for first, second in pairs:
        partners[first].append(second)
        partners[second].append(first)
    class_of = {item.path: item.class_name for item in found if item.path in partners}
    conflicts = [
        Conflict(first, second, is_exact=False) for first, second in pairs if class_of[first] != class_of[second]
    ]
    _fail_on(conflicts, policy, folder)

    def judged(finding: Finding) -> Finding:
        """The finding with its near duplicate, rejected or noted if that has another class."""
        if finding.path not in partners:
            return finding
        same = [path for path in sorted(partners[finding.path]) if class_of[path] == finding.class_name]
        others = [path for path in sorted(partners[finding.path]) if class_of[path] != finding.class_name]
        finding = finding._replace(near_copy_of=(same or others)[0])
        if others and policy == "drop":
            return finding.rejected(Reason.LABEL_CONFLICT, f"nearly equals {others[0]}", _ONE_LABEL)
        if others and "label_conflict" not in finding.notes.split():
            return finding.noted("label_conflict")
        return finding

    return [judged(item) for item in found], conflicts


def _fail_on(conflicts: Sequence[Conflict], policy: Policy, folder: str) -> None:
    if conflicts and policy == "fail":
        first = conflicts[0]
        more = f", and {len(conflicts) - 1} more pairs" if len(conflicts) > 1 else ""
        raise DataError(
            f"{first.first} and {first.second} in {folder} show one picture under two classes{more}. Remove the wrong "
            "ones, or set clean.label_conflicts to drop (leave out both) or keep."
        )

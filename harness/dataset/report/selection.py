"""Which pictures the data report shows: some of those that are rejected, copies of each other, or notable.

It says nothing about them: survey.py does.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.dataset.curation import findings
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import join_groups
from harness.dataset.curation.plan import Plan
from harness.dataset.images.rejection import Reason
from harness.dataset.report import facts

# By title: the note of those past the limit, the field that is their score, and what the score is.
NOTABLE = {
    "darkest": ("dark", "dark", "brightness of the brightest 1 %: "),
    "lightest": ("light", "light", "1 less brightness of the darkest 5 %: "),
    "blurriest": ("blurry", "blurry", "sharpness: "),
    "least information": ("low_information", "information", "entropy score: "),
    "oddest aspect": ("odd_aspect", None, "short side over long side: "),
}


class Shown:
    """The findings that the page shows, by place."""

    def __init__(self, made: Plan, kept: Sequence[Finding]) -> None:
        """Chooses them from a plan and from those of its findings that are kept."""
        by_path = _by_path(made)
        self.rejects: dict[str, list[Finding]] = defaultdict(list)
        for item in made.findings:
            is_shown = not item.is_kept and item.reason not in findings.COPIES
            if is_shown and len(self.rejects[item.reason]) < facts.MAX_REJECTS:
                self.rejects[item.reason].append(item)
        conflicts = [(conflict.first, conflict.second) for conflict in made.conflicts if conflict.is_exact]
        conflicts += [pair for pair in made.exact_pairs if by_path[pair[1]].reason == Reason.LABEL_CONFLICT]
        self.conflicts = _join(conflicts, by_path)
        exact = [pair for pair in made.exact_pairs if by_path[pair[1]].reason != Reason.LABEL_CONFLICT]
        self.exact = _join(exact, by_path)
        near = [(by_path[first], by_path[second]) for first, second in made.near_pairs]
        across = [pair for pair in near if pair[0].class_name != pair[1].class_name]
        self.num_in_near_conflict = len({item.path for pair in across for item in pair})
        self.near_conflicts = _spread(across)
        within = [
            pair for pair in near if pair[0].class_name == pair[1].class_name and all(item.is_kept for item in pair)
        ]
        self.near = _join([(one.path, two.path) for one, two in within], by_path)
        self.notable = {
            title: sorted(
                (item for item in kept if note in item.notes.split()), key=lambda item: (score(item, field), item.path)
            )[: facts.MAX_NOTABLE]
            for title, (note, field, _) in NOTABLE.items()
        }

    def all_pictures(self) -> Iterable[Finding]:
        """Every finding that needs a thumbnail; some more than once."""
        for items in (*self.rejects.values(), *self.notable.values()):
            yield from items
        for groups in (self.conflicts, self.near_conflicts, self.exact, self.near):
            for group in groups[: facts.MAX_GROUPS]:
                yield from group[: facts.MAX_COPIES]


def find_near_groups(made: Plan) -> list[list[Finding]]:
    """Returns the pictures that near copies join, each group by itself, the largest first."""
    return _join(made.near_pairs, _by_path(made))


def _by_path(made: Plan) -> dict[str, Finding]:
    """The findings but those of names that are not valid, which are shown as another file may really be called."""
    return {item.path: item for item in made.findings if item.reason != Reason.BAD_NAME}


def _join(pairs: Sequence[tuple[str, str]], by_path: Mapping[str, Finding]) -> list[list[Finding]]:
    paths = sorted({path for pair in pairs for path in pair})
    keys = join_groups({path: path for path in paths}, pairs, order=str.encode)
    groups: dict[str, list[Finding]] = defaultdict(list)
    for path in paths:
        groups[keys[path]].append(by_path[path])
    return sorted(groups.values(), key=lambda group: -len(group))


def _spread(pairs: Sequence[tuple[Finding, Finding]]) -> list[tuple[Finding, Finding]]:
    """Returns the pairs, those first that show pictures which no pair before them does."""
    seen: set[str] = set()
    is_seen = []
    for pair in pairs:
        is_seen.append(any(item.path in seen for item in pair))
        seen.update(item.path for item in pair)
    return [pairs[place] for place in sorted(range(len(pairs)), key=is_seen.__getitem__)]


def score(item: Finding, field: str | None) -> float:
    """Returns a score of a picture, by the name of its field; None: its short side over its long one."""
    return getattr(item, field) if field else min(item.width / item.height, item.height / item.width)

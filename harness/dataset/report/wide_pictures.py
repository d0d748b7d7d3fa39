"""What the data report says of pictures of more than 8 bits: their values, and the range that scales them."""

from collections import Counter
from collections.abc import Iterator

from harness.config.preparation import describe_ends, describe_range
from harness.dataset.curation.plan import Plan
from harness.dataset.images.wide_pixels import CLIPPED, FEW_LEVELS, Levels, find_full, parse_levels
from harness.dataset.records.manifest import Manifest

_USED_SHARE = 0.25  # of the range of values
_FEW_SHARE = 0.1  # of the pictures


def describe_levels(made: Plan, result: Manifest) -> str:
    """How pixels of more than 8 bits were scaled, in a sentence; "" if there are none such."""
    levels = _list_levels(made)
    if not levels or result.range is None:
        return ""
    kinds = ", ".join(f"{num:,} of {kind}" for kind, num in Counter(item.kind for item in levels).most_common())
    low, high = min(item.low for item in levels), max(item.high for item in levels)
    return (
        f"Pictures of more than 8 bits: {kinds}, with values from {low:.10g} to {high:.10g}. For all of them "
        f"{describe_ends(result.range)}."
    )


def list_warnings(made: Plan, result: Manifest) -> Iterator[str]:
    """Yields what a person should know of the range that scales them, a sentence each."""
    levels = _list_levels(made)
    if not levels or result.range is None:
        return
    kinds = Counter(item.kind for item in levels)
    if len(kinds) > 1:
        listed = ", ".join(
            f"{num} of {kind} (from {min(item.low for item in levels if item.kind == kind):.10g} to "
            f"{max(item.high for item in levels if item.kind == kind):.10g})"
            for kind, num in sorted(kinds.items())
        )
        yield (
            f"pixels of more than 8 bits are of several kinds: {listed}. One range, {describe_range(result.range)}, "
            "scales all of them. Convert them to one kind, or set clean.range."
        )
    low, high = min(item.middle_low for item in levels), max(item.middle_high for item in levels)
    ends = find_full(levels[0].kind) if result.range == "full" else result.range
    if 0 < high - low < _USED_SHARE * (ends[1] - ends[0]):
        yield (
            f"nearly all values of pictures of more than 8 bits lie from {low:.10g} to {high:.10g}, a small part of "
            f"{describe_range(result.range)}: single pixels, or the setting, take most of the levels. Set clean.range: "
            f"[{low:.10g}, {high:.10g}]."
        )
    few = sum(FEW_LEVELS in item.notes.split() for item in made.findings)
    if few > _FEW_SHARE * len(levels):
        yield (
            f"{few} of {len(levels)} pictures of more than 8 bits keep fewer than 32 levels, for "
            f"{describe_range(result.range)} is so much more than they use: their differences are lost. The columns "
            "levels of cleaning.csv say what each uses: set clean.range, or leave out what stretches it."
        )
    clipped = sum(CLIPPED in item.notes.split() for item in made.findings)
    if clipped:
        yield (
            f"{clipped} of {len(levels)} pictures of more than 8 bits have values outside clean.range, "
            f"{describe_range(result.range)}: these are black or white."
        )


def _list_levels(made: Plan) -> list[Levels]:
    return [parse_levels(item.levels) for item in made.findings if item.levels]

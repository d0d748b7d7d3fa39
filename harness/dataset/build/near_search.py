"""The search of near duplicates by the worker processes, done once for the same pictures.

What is compared, and what counts as near, stands in curation/similarity_search.py and curation/near_duplicates.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from harness.base import files, json_files
from harness.dataset.build.process_pool import Result
from harness.dataset.build.step import Step, divide
from harness.dataset.curation import build_cache, near_duplicates, similarity_search
from harness.dataset.curation.findings import Finding

_PAIRS = 256  # pairs a worker compares at a time, in a second


@dataclass(frozen=True)
class _Confirmed:
    """Pairs of near duplicates, and a digest of what they were found among."""

    inputs: str
    pairs: tuple[tuple[str, str], ...]


_CONFIRMED = TypeAdapter(_Confirmed)


def find_near_duplicates(step: Step, kept: Sequence[Finding]) -> list[tuple[str, str]]:
    """Returns the confirmed pairs of near duplicates; found once for the same pictures, in however many starts.

    Raises:
      Stopped: the build was asked to stop; the search begins anew then.
    """
    if len(kept) < 2:
        return []
    work, config = step.work, step.config.records
    inputs = files.digest_json([[item.path, item.pixels_sha256] for item in kept])
    try:
        cached = json_files.read(work.near_duplicates, _CONFIRMED)
        if cached.inputs == inputs:
            return list(cached.pairs)
    except json_files.WrongForm:
        pass
    fingerprints = np.frombuffer(b"".join(item.fingerprint for item in kept), np.uint8).reshape(len(kept), -1)

    def search(function: Callable[..., Result], tasks: Sequence[tuple[object, ...]]) -> list[Result]:
        return step.run(function, tasks, [1] * len(tasks), "searching", unit="parts")

    pairs = similarity_search.propose_pairs(fingerprints, search)
    proposed = [(kept[first], kept[second]) for first, second in pairs.tolist()]

    def place(item: Finding) -> near_duplicates.Place:
        return build_cache.locate(item, work.cache, work.place), item.offset, item.length

    chunks = divide([(place(first), place(second)) for first, second in proposed], _PAIRS)
    tasks = [(chunk, config.encoding, config.image_size) for chunk in chunks]
    answers = step.run(
        near_duplicates.confirm_pairs, tasks, [len(chunk) for chunk in chunks], "comparing", unit="pairs"
    )
    confirmed = [
        (first.path, second.path)
        for (first, second), is_near in zip(proposed, (answer for chunk in answers for answer in chunk))
        if is_near
    ]
    files.write_json(work.near_duplicates, {"inputs": inputs, "pairs": confirmed})
    return confirmed

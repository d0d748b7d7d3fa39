"""Measurements that take hours: each is a line of a file once it is finished, and is not repeated."""

import json
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)  # a frozen dataclass: what is measured
Found = TypeVar("Found")  # what was found, as JSON has it


def read(path: Path, kind: type[Item]) -> dict[Item, Found]:
    """Returns the finished measurements and what they found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    for values in map(json.loads, path.read_text().splitlines() if path.exists() else []):
        found = values.pop("found")
        done[kind(**values)] = found
    return done


def finish(
    path: Path, planned: Iterable[Item], measure: Callable[[Item], Found], *, done: dict[Item, Found], jobs: int
) -> None:
    """Measures what is not done yet, so many at a time, and adds it to the file and to `done`."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(measure, item): item for item in planned if item not in done}
        try:
            for future in as_completed(futures):
                item = futures[future]
                done[item] = future.result()
                with path.open("a") as file:
                    file.write(json.dumps({**vars(item), "found": done[item]}) + "\n")
                print(done[item], item, flush=True)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error nobody would take their results

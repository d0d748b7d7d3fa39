"""Whether the owner of a lock still lives.

Four kinds of evidence, the exact ones first:

1. The owner has its number in this process's own namespace: the system knows whether that very process lives. One that
   is suspended lives.
2. The owner is on this kernel, in another container: a flock tells, since on one kernel it holds wherever it is given.
3. Anyone else: whether the file's time moves while we look. Clocks are never compared, of two machines or of a machine
   and a file server. A flock that is free proves nothing here: NFS with local_lock, and Lustre with localflock, keep it
   from other machines. One that is held is respected, since a suspended owner has no heartbeat.
4. SLURM starts a job again only when it takes the earlier start for ended. The later one therefore waits for an earlier
   one that still lives, and passes over a flock without a heartbeat, which a file server may keep for a node that died.
"""

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.locks import lock_file
from harness.locks.lock_file import Seen
from harness.locks.owner import Owner, is_running


@dataclass(frozen=True)
class Rhythm:
    """The times of a lock, in seconds. All who meet at one must have the same.

    A heart is silent while Python's own lock is kept from its thread: 0.6 s were measured in a training, while
    TensorFlow was imported from a local disk. From a slow file server, and while TensorFlow waits for a worker that has
    just died, it may be 20 s and more. Hence twelve beats.
    """

    beat_s: float = 5  # between two beats of an owner
    still_s: float = 60  # without a beat: an owner is gone
    patience_s: float = 90  # for an earlier start of the same job
    yield_s: float = 10  # for one who only looks whether others are there

    @property
    def look_s(self) -> float:
        """Between two looks at the file."""
        return self.beat_s / 5


USUAL = Rhythm()


class Verdict(Enum):
    """What is known of an owner."""

    LIVES = "lives"
    SILENT = "has a flock and no heartbeat: it is suspended, or its machine is gone"
    GONE = "gone"
    CHANGED = "the lock has been released or taken over meanwhile"


def judge_at_once(seen: Seen, me: Owner) -> Verdict | None:
    """Returns what one look at a lock file tells; None if it takes a longer one."""
    owner = seen.owner
    if owner is None:
        return None  # it may be about to write who it is
    if owner.has_processes_of(me):
        lives = is_running(owner)
    elif owner.has_kernel_of(me) and seen.is_held is not None and (seen.is_held or owner.has_flock):
        lives = seen.is_held
    else:
        return None
    if lives and owner.is_earlier_start_of(me):
        return None  # it is waited for
    return Verdict.LIVES if lives else Verdict.GONE


def judge(path: Path, seen: Seen, me: Owner, rhythm: Rhythm) -> Verdict:
    """Looks at a lock file until it is plain whether its owner lives.

    It counts looks, not seconds: one who was suspended while looking has seen nothing.

    Raises:
      OSError, CheckpointError: as of `lock_file.look`.
    """
    is_own = seen.owner is not None and seen.owner.is_earlier_start_of(me)
    limit = time.monotonic() + (rhythm.patience_s if is_own else 0)
    num_still, verdict = 0, judge_at_once(seen, me)
    while verdict is None:
        time.sleep(rhythm.look_s)
        now = lock_file.look(path)
        if now is None or now.content_sha256 != seen.content_sha256:
            return Verdict.CHANGED
        if now.stamp == seen.stamp:
            num_still += 1
        elif time.monotonic() >= limit:
            return Verdict.LIVES
        else:
            num_still, seen = 0, now
        verdict = judge_at_once(now, me)
        if verdict is None and num_still * rhythm.look_s >= rhythm.still_s:
            return Verdict.SILENT if now.is_held and not is_own else Verdict.GONE
    return verdict

"""Why the worker of a trial was lost, and when the trial is given up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ray.exceptions import OutOfMemoryError, RayActorError

from study.ledger import Loss

CRASH = re.compile(r"Fatal Python error: (.+)")
LIMIT = 3  # losses in a row, no task finished in between, after which a trial is given up


def loss_of(error: BaseException | None, tasks: int, crash: Path, actor: str = "") -> Loss:
    """Return the loss that an error of Ray tells of.

    Args:
        error: None where Ray's own file of it cannot be read.
        tasks: tasks that were learnt by then.
        crash: file in which a worker leaves word of a signal that ends it.
        actor: id of the worker; empty where it had not begun.
    """
    kind, reason = _told(error, crash, actor)
    return {"kind": kind, "reason": reason, "tasks": tasks}


def _told(error: BaseException | None, crash: Path, actor: str) -> tuple[str, str]:
    text = str(error or "")
    if "low on memory" in text:
        if actor:
            return "memory", out_of_memory(text, actor)
        # Ray stops the newest worker, which need not be the one that takes the memory
        return "worker", f"memory ran out on its node{_in_use(text)} before it had begun"
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        why = os.strerror(error.errno) if error.errno else text.strip().splitlines()[-1]
        return "disk", f"a checkpoint could not be written or read ({why}{where})"
    if "node has died" in text or "node was" in text or "unavailable" in text.lower():
        return "node", f"its node {_address(text)}was lost"
    if signal := CRASH.search(_content(crash)):
        return "worker", f"its process crashed ({signal[1].lower()})"
    if status := re.search(r"exit code (\d+)", text):
        ended = "was terminated (SIGTERM)" if "SIGTERM" in text else "ended itself"
        return "worker", f"its process {ended}, exit status {status[1]}"
    if isinstance(error, RayActorError):
        killed = "killed (SIGKILL: by hand, or by the system where memory ran out)"
        return "worker", f"its process was {killed}, or ended itself without a word"
    return "worker", text.strip().splitlines()[-1] if text.strip() else "nothing is known of why"


def out_of_memory(text: str, actor: str) -> str:
    """Return what Ray says of a worker it stopped because a node's memory ran out, in a line."""
    own = re.search(rf"Actor\({actor}.*?memory used=([\d.]+ ?GB)", text)
    had = f": its worker had {own[1]}" if own else ""
    return (
        f"out of memory{had}{_in_use(text)}; a smaller stack (resources.seeds_per_stack) or fewer "
        "trials at once (a larger resources.cpus_per_trial) helps"
    )


def _in_use(text: str) -> str:
    node = re.search(r"was ([\d.]+ ?GB) used / ([\d.]+ ?GB) limit", text)
    return f" (node {_address(text)}had {node[1]} of {node[2]} in use)" if node else ""


def stopped_workers(error: OutOfMemoryError) -> set[str]:
    """Return the ids of the actors that Ray stopped because a node's memory ran out."""
    chosen = re.findall(r"Selected to kill: .*", str(error))
    return {actor for line in chosen for actor in re.findall(r"Actor\((\w+)\)", line)}


def _address(text: str) -> str:
    found = re.search(r"(?:IP|ip)(?: address)?[:=] ?([\w.:]*\w)", text)
    return f"{found[1]} " if found else ""


def _content(crash: Path) -> str:
    try:
        return crash.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def in_a_row(losses: Sequence[Loss]) -> int:
    """Return how often a trial was lost since it last finished a task."""
    return sum(loss["tasks"] == losses[-1]["tasks"] for loss in losses) if losses else 0


def given_up(losses: Sequence[Loss], divisible: bool) -> bool:
    """Whether a trial that was lost does not run again as it is.

    Args:
        divisible: whether its seeds can run one by one instead. They do after two losses in a row,
            and at once where memory ran out.
    """
    last, row = losses[-1], in_a_row(losses)
    if last["kind"] == "silence":
        return True
    if divisible:
        return row >= (1 if last["kind"] == "memory" else 2)
    return row >= LIMIT


def concluded(losses: Sequence[Loss]) -> str:
    """Return in a line why a trial was given up."""
    row = in_a_row(losses)
    often = f"lost {row} times without finishing a task: " if row > 1 else "lost: "
    return often + losses[-1]["reason"]


def memory_ran_out(losses: Iterable[Loss]) -> bool:
    """Whether a trial was lost because memory ran out: its seeds are then trained one at a time."""
    return any(loss["kind"] == "memory" for loss in losses)

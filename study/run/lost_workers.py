"""Explain the loss of a trial's worker from what Ray says of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ray.exceptions import OutOfMemoryError, RayActorError

from study.losses import WorkerLoss

CRASH = re.compile(r"Fatal Python error: (.+)")


def loss_of(error: BaseException | None, tasks: int, crash: Path, actor: str = "") -> WorkerLoss:
    """Return the loss behind an error of Ray.

    Args:
        error: None if Ray's file with the error cannot be read.
        tasks: number of tasks learnt before the loss.
        crash: file in which a worker writes the signal that ends it.
        actor: id of the worker; empty if the worker had not begun.
    """
    kind, reason = _kind_and_reason(error, crash, actor)
    return {"kind": kind, "reason": reason, "tasks": tasks}


def _kind_and_reason(error: BaseException | None, crash: Path, actor: str) -> tuple[str, str]:
    text = str(error or "")
    if "low on memory" in text:
        if actor:
            return "memory", out_of_memory(text, actor)
        # Ray stops the newest worker, even if another one fills the memory
        return (
            "worker",
            f"memory ran out on its node{_memory_in_use(text)} before the worker had begun",
        )
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        problem = os.strerror(error.errno) if error.errno else text.strip().splitlines()[-1]
        return "disk", f"a checkpoint could not be written or read ({problem}{where})"
    if "node has died" in text or "node was" in text or "unavailable" in text.lower():
        return "node", f"its node {_address(text)}was lost"
    if signal := CRASH.search(_content(crash)):
        return "worker", f"its process crashed ({signal[1].lower()})"
    if status := re.search(r"exit code (\d+)", text):
        ended = "was terminated (SIGTERM)" if "SIGTERM" in text else "ended itself"
        return "worker", f"its process {ended}, exit status {status[1]}"
    if isinstance(error, RayActorError):
        killed = "killed (SIGKILL: by hand, or by the system where memory ran out)"
        return "worker", f"its process was {killed}, or ended itself without a message"
    return "worker", text.strip().splitlines()[-1] if text.strip() else "the reason is unknown"


def out_of_memory(text: str, actor: str) -> str:
    """Return a one-line summary of Ray's message on a worker stopped for lack of memory."""
    used = re.search(rf"Actor\({actor}.*?memory used=([\d.]+ ?GB)", text)
    by_worker = f": its worker had {used[1]}" if used else ""
    return (
        f"out of memory{by_worker}{_memory_in_use(text)}; a smaller stack "
        "(resources.seeds_per_stack) or fewer trials at once (a larger resources.cpus_per_trial) "
        "helps"
    )


def _memory_in_use(text: str) -> str:
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

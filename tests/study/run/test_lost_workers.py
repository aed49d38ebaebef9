"""What Ray says of a worker that was lost, in a line."""

from __future__ import annotations

import errno

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayTaskError

from study.run.lost_workers import loss_of, stopped_workers

# as Ray 2.60 words them
DIED = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
SILENTLY = DIED + (
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. "
    "Some common causes include: (1) the process was killed by the OOM killer due to high memory "
    "usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to SIGSEGV"
)
EXITED = DIED + "Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code 4."
TERMINATED = (
    DIED + "Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code 1. "
    "The process receives a SIGTERM."
)
NODE = (
    "The actor died unexpectedly before finishing this task.\n\tip: 10.0.0.7\n"
    "The actor died because its node has died. Node Id: 4bf0e09a"
)
MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the node \
(IP: 10.0.0.7, ID: ad31645a) was 14.18GB used / 23.54GB limit (0.602524)
Considered workers: [
Kept: (Actor(0077a40629763a2105cde06001000000): task name=Trial.train, actual memory used=0.5GB)
Selected to kill: (Actor(8977a40629763a2105cde06001000000): job ID=01000000, task name=Trial.train,\
 pid=12182, actual memory used=10.84GB, worker ID=a482246b)
]
Total non-selected idle workers: 1"""
CRASH = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x0 (most recent call first):\n"


def died(text):
    error = ActorDiedError()
    error.args = (text,)
    error.error_msg = text
    return error


@pytest.mark.parametrize(
    ("error", "crash", "kind", "told"),
    [
        (died(SILENTLY), "", "worker", "its process was killed (SIGKILL"),
        (died(SILENTLY), CRASH, "worker", "its process crashed (segmentation fault)"),
        (died(EXITED), "", "worker", "its process ended itself, exit status 4"),
        (died(TERMINATED), "", "worker", "its process was terminated (SIGTERM), exit status 1"),
        (died(NODE), "", "node", "its node 10.0.0.7 was lost"),
        (ActorUnavailableError("unavailable", None), "", "node", "its node was lost"),
        (
            OutOfMemoryError(MEMORY),
            "",
            "memory",
            "out of memory: its worker had 10.84GB (node 10.0.0.7 had 14.18GB of 23.54GB in use); ",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            "",
            "disk",
            "a checkpoint could not be written or read (No space left on device: /data/x)",
        ),
        (None, "", "worker", "the reason is unknown"),
        (ValueError("first\nlast"), "", "worker", "last"),
    ],
)
def test_the_reason_of_a_loss_is_said_in_a_line(error, crash, kind, told, tmp_path):
    file = tmp_path / "trial.crash"
    if crash:
        file.write_text(crash)
    loss = loss_of(error, 2, file, "8977a40629763a2105cde06001000000")
    assert (loss["kind"], loss["tasks"]) == (kind, 2)
    assert loss["reason"].startswith(told)
    assert "\n" not in loss["reason"]


def test_a_worker_that_had_not_begun_took_no_memory(tmp_path):
    loss = loss_of(RuntimeError(MEMORY), 0, tmp_path / "none")
    assert loss["kind"] == "worker"
    assert loss["reason"] == (
        "memory ran out on its node (node 10.0.0.7 had 14.18GB of 23.54GB in use) before the "
        "worker had begun"
    )


def test_an_error_of_a_full_disk_is_known_through_ray():
    cause = OSError(errno.ENOSPC, "No space left on device", "/tmp/ray/x")
    error = RayTaskError("train", "Traceback ...", cause).as_instanceof_cause()
    assert loss_of(error, 0, None)["kind"] == "disk"


def test_of_the_workers_on_a_node_those_that_were_chosen_have_been_stopped():
    assert stopped_workers(OutOfMemoryError(MEMORY)) == {"8977a40629763a2105cde06001000000"}

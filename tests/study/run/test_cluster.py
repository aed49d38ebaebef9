"""What a study asks of Ray: where it runs, and on which devices."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch
from factory import Run, Tune, make_confirmation, make_spec

import study
import trainables
from study.interruption import Interrupted
from study.ledger import Ledger
from study.run import cluster
from study.run.cluster import (
    SILENT_LOOKS,
    TRIES,
    NodeWatch,
    check_requests,
    connected,
    device_models,
)
from study.run.schedule import Node, slots
from study.spec import Request
from trainables.errors import InputError, MachineError

# a cluster that says it has a GPU, and a torch that knows better
FALSE_GPU = """
import ray
from study.run.cluster import QUIET, _machines, check_requests, device_models
from study.spec import Request
from trainables import InputError
import os
os.environ.update(QUIET)
ray.init(num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False,
         object_store_memory=100 * 1024**2)
print(device_models([Request(1)]))
request = Request(1, 0.5)
check_requests({"replay": request}, [machine.node for machine in _machines().values()])
try:
    device_models([Request(1), request])
except InputError as error:
    print(error)
"""


# a program whose C code ends it while Ray runs
CRASH = """
import contextlib, faulthandler, os, sys
from pathlib import Path
import ray
from study.run import cluster
from study.console import open_streams
open_streams()
ray.init = lambda **options: None
row = {"NodeID": "a", "NodeManagerAddress": "a", "Alive": True, "Resources": {"CPU": 2.0}}
ray.nodes = lambda: [row]
cluster._watched = lambda *ignored: contextlib.nullcontext()
with cluster.connected("local", log=Path(sys.argv[1])):
    faulthandler.enable(2)
    print("what is ours", file=sys.stderr)
    os.abort()
"""

# a study's driver on a cluster of two machines, of which it waits for one to be lost
WAITS = """
import sys, threading
from pathlib import Path
from study.run.cluster import connected
from study.console import open_streams
from study.spec import Request
from trainables.errors import InputError
open_streams()
lost = threading.Event()
def notify(text):
    print(text, file=sys.stderr)
    if "has left" in text:
        lost.set()
try:
    requests = {"replay": Request(cpus=1)}
    with connected(sys.argv[1], requests, Path(sys.argv[2]), notify) as cluster:
        print(cluster.models, *(f"{node.cpus:g}" for node in cluster.nodes()), file=sys.stderr)
        Path(sys.argv[2]).with_name("joined").touch()
        print(lost.wait(120), *(f"{node.cpus:g}" for node in cluster.nodes()), file=sys.stderr)
except InputError as error:
    print(error, file=sys.stderr)
"""


@pytest.mark.parametrize("address", ["ray://host:10001", "ray://", "https://host"])
def test_rays_client_is_refused_before_anything_is_tried(address):
    with pytest.raises(InputError, match=rf'resources.address = "{address}": .* use \'auto\''):
        make_spec({"resources.address": address})


def row_of(address, cpus, alive=True, **more):
    """A machine as Ray tells of it."""
    return {
        "NodeID": f"id of {address}",
        "NodeManagerAddress": address,
        "NodeManagerPort": 7,
        "Alive": alive,
        "Resources": {"CPU": cpus, **more} if alive else {},
    }


@pytest.fixture
def fake_ray(monkeypatch, tmp_path):
    """A Ray that does nothing of its own: what is set here is done when it is started."""
    fake = SimpleNamespace(init=lambda **options: None, ends=[])
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **options: fake.init(**options))
    monkeypatch.setattr(ray, "nodes", lambda: [row_of("10.0.0.1", 2.0)])
    monkeypatch.setattr(ray, "shutdown", lambda: fake.ends.append("shut down"))
    monkeypatch.setattr(cluster, "_watched", lambda *ignored: contextlib.nullcontext())
    monkeypatch.setattr(cluster, "check_head", lambda address: None)
    return fake


def test_an_error_of_ray_becomes_a_sentence_and_unknown_ones_are_in_the_log(fake_ray, tmp_path):
    def refuse(**options):
        raise Exception("first line\nthe reason")

    fake_ray.init = refuse
    told, log = [], tmp_path / "ray.log"
    with (
        pytest.raises(MachineError, match=r"'host:6379': Ray cannot be used \(the reason\)"),
        connected("host:6379", log=log, notify=told.append),
    ):
        pass
    assert told == [f"the output of Ray is in {log}"]
    assert log.read_text().endswith("Exception: first line\nthe reason\n")


def test_a_signal_while_ray_starts_interrupts(fake_ray):
    def end(**options):  # as Ray does
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    fake_ray.init, before = end, signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"), connected("local"):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_head_is_tried_for_seconds_and_a_ray_of_its_own_is_given_its_time(fake_ray, monkeypatch):
    tries = []
    fake_ray.init = lambda **options: tries.append(os.environ.get(TRIES[0]))
    monkeypatch.delenv(TRIES[0], raising=False)
    for address in ("local", "host:6379", "auto", "local"):
        with connected(address):
            pass
    assert tries == [None, "3", "3", None]
    monkeypatch.setenv(TRIES[0], "90")
    with connected("auto"):
        pass
    assert (tries[-1], os.environ[TRIES[0]]) == ("90", "90")


def test_a_cluster_in_the_environment_that_is_not_joined_is_spoken_of(fake_ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    told = []
    for address in ("local", "auto", "10.0.0.8:6379"):
        with connected(address, notify=told.append):
            pass
    assert told == ["starting a local Ray; --address auto joins the cluster of RAY_ADDRESS"]


def say_much():
    """Say something in all the ways that Ray has."""
    print("(raylet) a node died")
    os.write(2, b"[rpc_client.h:204] from C++\n")
    logging.getLogger("ray.tune.execution").error("a traceback of Tune's")
    warnings.warn("an option of Ray is old", stacklevel=1)


@pytest.mark.filterwarnings("always:an option of Ray")
def test_what_ray_prints_is_kept_off_the_terminal(fake_ray, tmp_path, capfd):
    fake_ray.init = lambda **options: say_much()
    log, told = tmp_path / "ray.log", []
    log.write_text("of an earlier run\n")
    with connected("local", log=log, notify=told.append):
        say_much()
        print("what is ours", file=sys.stderr)
    print("after", file=sys.stderr)
    os.write(2, b"from C++, after\n")
    print("a result")
    out, err = capfd.readouterr()
    assert (out, sorted(err.splitlines())) == (
        "a result\n",
        ["after", "from C++, after", "what is ours"],
    )
    said = log.read_text().splitlines()
    assert said[0] == "of an earlier run"
    for line in ("(raylet) a node died", "[rpc_client.h:204] from C++"):
        assert said.count(line) == 2
    for part in ("a traceback of Tune's", "UserWarning: an option of Ray is old"):
        assert sum(part in line for line in said) == 2
    assert told == [f"the output of Ray is in {log}"]


def test_a_ray_that_says_nothing_leaves_no_log(fake_ray, tmp_path):
    log, told = tmp_path / "ray.log", []
    with connected("local", log=log, notify=told.append):
        pass
    assert (log.exists(), told) == (False, [])


def test_what_ray_prints_is_kept_when_the_program_ends_in_the_middle(tmp_path):
    log = tmp_path / "ray.log"
    done = subprocess.run([sys.executable, "-c", CRASH, str(log)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == "what is ours\n"
    assert "Fatal Python error: Aborted" in log.read_text()


class Nodes:
    """A cluster as Ray tells of it: the addresses of its machines, and which of them answer."""

    def __init__(self, monkeypatch, *machines: str) -> None:
        self.machines, self.silent, self.cpus = list(machines), set(), 4.0
        own = row_of(machines[0], 0.0)["NodeID"]
        context = SimpleNamespace(gcs_address="10.0.0.1:6379", get_node_id=lambda: own)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        monkeypatch.setattr(ray, "nodes", self.rows)
        monkeypatch.setattr(cluster, "silence_of", lambda at: "gone" if at in self.silent else "")
        self.known = list(machines)
        self.told: list[str] = []

    def rows(self):
        return [
            row_of(address, self.cpus, alive=address in self.machines) for address in self.known
        ]


def test_a_machine_that_leaves_is_spoken_of_once(monkeypatch):
    nodes = Nodes(monkeypatch, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    watch = NodeWatch({"replay": Request(cpus=1)}, nodes.told.append)
    watch.look()
    assert nodes.told == []
    nodes.machines.remove("10.0.0.3")
    for _ in range(3):
        watch.look()
    told = "has left the cluster: its trials continue elsewhere"
    assert nodes.told == [f"machine 10.0.0.3 {told}"]
    nodes.known.append("10.0.0.9")
    nodes.machines.append("10.0.0.9")
    watch.look()
    nodes.machines.remove("10.0.0.9")
    nodes.cpus = 0.5
    watch.look()
    waits = ", once a machine joins that is large enough for a trial"
    assert nodes.told[1:] == [f"machine 10.0.0.9 {told}{waits}"]


def test_the_machines_are_those_that_are_there_now(monkeypatch):
    nodes = Nodes(monkeypatch, "10.0.0.1", "10.0.0.2")
    watch = NodeWatch({}, nodes.told.append)

    def found():
        watch.look()
        return {machine.address: machine.node for machine in watch.machines.values()}

    assert found() == {"10.0.0.1": Node(4), "10.0.0.2": Node(4)}
    nodes.known.append("10.0.0.9")
    nodes.machines.append("10.0.0.9")
    assert sorted(found()) == ["10.0.0.1", "10.0.0.2", "10.0.0.9"]
    nodes.machines.remove("10.0.0.2")
    assert sorted(found()) == ["10.0.0.1", "10.0.0.9"]
    nodes.machines.clear()
    nodes.silent = {"10.0.0.1:6379"}  # the head, which alone knows the machines
    assert sorted(found()) == ["10.0.0.1", "10.0.0.9"]


def test_a_block_has_the_machines_the_devices_and_the_object_store_of_its_cluster(monkeypatch):
    nodes = Nodes(monkeypatch, "10.0.0.1", "10.0.0.2")
    monkeypatch.setattr(cluster, "_start_or_join", lambda address: None)
    monkeypatch.setattr(cluster, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    requests = {"finetune": Request(1), "replay": Request(2)}
    with connected("auto", requests, notify=nodes.told.append) as found:
        assert found.nodes() == [Node(4), Node(4)]
        assert found.models == {"cpu"}
        assert found.share is ray.put
        nodes.machines.remove("10.0.0.2")
        wait(lambda: nodes.told)
        assert found.nodes() == [Node(4)]
    assert "machine 10.0.0.2 has left the cluster" in nodes.told[0]
    watching = [thread.name for thread in threading.enumerate() if "keep_looking" in thread.name]
    assert watching == []


@pytest.mark.parametrize(
    ("name", "address"),
    [("Ray's head", "10.0.0.1:6379"), ("the Ray of this machine", "10.0.0.1:7")],
)
def test_what_a_program_cannot_do_without_is_spoken_of_when_it_falls_silent(
    name, address, monkeypatch
):
    nodes = Nodes(monkeypatch, "10.0.0.1", "10.0.0.2")
    watch = NodeWatch({}, nodes.told.append)
    nodes.silent = {address}
    for _ in range(SILENT_LOOKS - 1):
        watch.look()
    nodes.silent = set()
    watch.look()
    assert nodes.told == []  # it was busy
    nodes.silent = {address}
    for _ in range(SILENT_LOOKS + 2):
        watch.look()
    (told,) = nodes.told
    assert told.startswith(
        f"{name} ({address}) does not answer (gone). Without an answer, Ray ends"
    )
    assert told.endswith("run the same command to continue.")


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_gpus_that_torch_cannot_use_are_refused():
    found = subprocess.run(
        [sys.executable, "-c", FALSE_GPU], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    models, told = found.stdout.splitlines()
    assert models == "{'cpu'}"
    assert told.startswith("trials ask for 0.5 GPUs (resources.gpus_per_trial, or resources.gpus")
    assert "torch sees no GPU" in told
    assert told.endswith("set the key to 0.")


def test_the_devices_are_the_models_of_the_gpus_and_the_cpu_where_trials_ask_for_no_gpu(
    monkeypatch,
):
    asked = []

    def remote(**resources):
        asked.append(resources)
        return lambda find: SimpleNamespace(remote=lambda: f"model for {resources['num_gpus']}")

    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "get", lambda reference: reference)
    assert device_models([]) == set()
    assert device_models([Request(1), Request(2)]) == {"cpu"}
    assert asked == []
    requests = [Request(1, 0.5), Request(4, 0.5), Request(1, 2)]
    assert device_models(requests) == {"model for 0.5", "model for 2"}
    assert device_models([Request(1), Request(1, 1)]) == {"cpu", "model for 1"}
    assert {each["num_cpus"] for each in asked} == {0}  # the probe waits for no CPU
    assert len(asked) == 3  # one for each amount


@pytest.mark.parametrize(
    ("asked", "nodes", "told"),
    [
        (Request(3), [Node(2)], "asks for 3 CPUs, and no machine of the cluster has more than 2."),
        (Request(3), [Node(2), Node(2)], "asks for 3 CPUs, .* more than 2. Ask for at most 2, or"),
        (Request(1, 0.5), [Node(2)], "asks for 0.5 GPUs, .* more than 0."),
        (Request(1, 2), [Node(8, 1), Node(2, 1)], "asks for 2 GPUs, .* more than 1."),
        (Request(4, 1), [Node(8), Node(2, 1)], "4 CPUs and 1 GPUs, and no machine .* has both."),
    ],
)
def test_more_than_any_machine_has_is_refused_with_both_numbers(asked, nodes, told):
    requests = {"finetune": Request(1), "replay": asked}
    where = r"resources of 'replay' \(resources, or methods\.replay\.resources\): a trial asks for "
    with pytest.raises(InputError, match=where) as caught:
        check_requests(requests, nodes)
    assert re.search(told, str(caught.value))
    check_requests({"finetune": Request(1)}, nodes)


def test_a_study_that_asks_for_too_much_is_refused_as_it_joins_and_leaves_no_ray(fake_ray):
    with pytest.raises(InputError, match="more than 2"), connected("auto", {"x": Request(3)}):
        pass
    assert fake_ray.ends == ["shut down"]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 8),
        ({"cpus_per_trial": 0.5}, 16),
        ({"cpus_per_trial": 3}, 2),
        ({"gpus_per_trial": 0.25}, 4),
        ({"gpus_per_trial": 1, "cpus_per_trial": 8}, 1),
    ],
)
def test_a_cluster_runs_as_many_trials_as_fit(asked, count):
    spec = make_spec({f"resources.{key}": value for key, value in asked.items()})
    assert slots([Node(8, 1)], spec.request("replay")) == count
    assert slots([Node(8, 1)] * 3, spec.request("replay")) == 3 * count


def test_an_outcome_that_cannot_be_read_is_a_failed_trial_with_the_reason(tmp_path):
    spec, ledger = make_spec({"tune.trials": 0}), Ledger(tmp_path)
    tune = Tune(make_confirmation(spec, ledger, slots=1))
    trial = tune.ask()
    work = tune.asked[trial]["work"]
    *_, last = Run().reports(work, ["average_accuracy"])
    tune.driver.on_trial_complete(trial, {**last, "outcome": b"no HDF5"})
    (entry,) = ledger.entries()
    assert (entry.state, entry.digest) == ("failed", "")
    assert entry.reason.startswith("unreadable outcome (OSError: ")
    assert entry.failure.startswith("Traceback")
    assert Ledger(tmp_path).entries() == [entry]


def test_the_software_of_a_trial_has_the_package_of_its_learner_and_the_commit(monkeypatch):
    dist = SimpleNamespace(name="rv-plug", version="0.1")
    point = SimpleNamespace(dist=dist)
    monkeypatch.setattr(
        trainables, "plugins", lambda group: {"odd": (point,)} if "learners" in group else {}
    )
    monkeypatch.setattr(study, "commit", lambda: "abc")
    assert study.software("odd") == {**study.software(), "rv-plug": "0.1"}
    assert study.software()["git"] == "abc"
    assert study.software()["python"] == platform.python_version()


def test_the_commit_is_known_in_a_checkout_only(tmp_path, monkeypatch):
    study.commit.cache_clear()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x"]
    monkeypatch.setattr(study, "__file__", str(tmp_path / "study" / "__init__.py"))
    assert study.commit() == "unknown: the program was not run from a git checkout"
    (tmp_path / ".git").mkdir()
    study.commit.cache_clear()
    assert study.commit().startswith("unknown: git failed (fatal: not a git repository")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        study.commit.cache_clear()
        assert study.commit() == "unknown: git is not installed"
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    study.commit.cache_clear()
    assert re.fullmatch("[0-9a-f]{12}", study.commit())
    (tmp_path / "new.py").touch()
    study.commit.cache_clear()
    assert study.commit().endswith(" with uncommitted changes")
    study.commit.cache_clear()


# -- a real cluster: two machines in one, which ask for a token


def ray_words(*words: str) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *words]


def processes(place: Path) -> dict[int, list[str]]:
    """The processes of a cluster, by its temporary folder: their numbers and command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if f"{place}/" in (text := path.read_bytes().decode(errors="replace")):
                found[int(path.parent.name)] = text.split("\0")
    return found


def wait(ready, seconds=120):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def two_machines(tmp_path):
    """Start a cluster as the README says; its address, its folder and what its machines share."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    shared = kept | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}
    place = Path(f"/tmp/two{os.getpid()}")  # a socket's name has 107 bytes at most
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    small = ("--num-cpus=1", "--object-store-memory=100000000")
    steps = (
        ray_words("get-auth-token", "--generate"),
        ray_words("start", "--head", f"--port={port}", f"--temp-dir={place}", *small),
        ray_words("start", f"--address=127.0.0.1:{port}", *small),
    )
    try:
        for step in steps:
            done = subprocess.run(step, env=shared, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
        yield f"127.0.0.1:{port}", place, shared
    finally:
        for number in processes(place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the processes are found in /proc")
def test_a_cluster_that_asks_for_a_token_is_joined_with_it_and_may_lose_a_machine(
    two_machines, tmp_path
):
    address, place, shared = two_machines
    log = tmp_path / "ray.log"

    def drive(environment: dict[str, str]) -> subprocess.Popen[str]:
        driver = [sys.executable, "-c", WAITS, address, str(log)]
        return subprocess.Popen(driver, env=environment, stderr=subprocess.PIPE, text=True)

    without = {name: value for name, value in shared.items() if name != "RAY_AUTH_MODE"}
    *_, told = drive(without).communicate(timeout=120)[1].splitlines()
    assert told.startswith(f"resources.address = '{address}': the cluster asks for a token")
    assert "Set RAY_AUTH_MODE=token, and put the cluster's token in ~/.ray/auth_token" in told
    log.unlink()
    driver = drive(shared)
    wait((tmp_path / "joined").exists)
    (worker,) = (
        number
        for number, words in processes(place).items()
        if words[0].endswith("/raylet") and "--head" not in words
    )
    os.kill(worker, signal.SIGKILL)
    joined, lost, waited, where = driver.communicate(timeout=180)[1].splitlines()
    assert (driver.returncode, joined, waited) == (0, "{'cpu'} 1 1", "True 1")
    assert re.fullmatch(r"machine \S+ has left the cluster: its trials continue elsewhere", lost)
    assert where == f"the output of Ray is in {log}"
    assert "Raylet is terminated" in log.read_text()

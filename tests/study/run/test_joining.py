"""What keeps Ray from being started or joined is said in a sentence, and soon."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from factory import make_spec
from ray._private import services
from ray.exceptions import AuthenticationError, RpcError

from study.run import joining
from study.run.joining import check_head, check_temporary_folder, connection_error, silence_of
from trainables.errors import InputError, MachineError

SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of HTTP/2: no content, type 4

# what keeps Ray from starting, before anything of it runs: an environment each, and an address
STARTS = """
import sys
from study.run.cluster import connected
from trainables.errors import InputError, MachineError
try:
    with connected(sys.argv[1]):
        print("started")
except (InputError, MachineError) as error:
    print(type(error).__name__, error)
"""


@contextlib.contextmanager
def listening(answer: bytes | None, family: socket.AddressFamily = socket.AF_INET):
    """The port of a server that says the same to everyone; None: it says nothing at all."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    over = threading.Event()
    with socket.create_server((host, 0), family=family) as server:
        server.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError), server.accept()[0] as link:
                    if answer is None:
                        over.wait(5)
                    else:
                        link.recv(100)
                        link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.fixture
def closed():
    """A port that nobody listens on."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.mark.parametrize(
    "address",
    [
        *("foo", "", "host:", "host:abc", "host:0", "host:65536", "host:99999999", ":6379"),
        *("host:6379:", "::1:6379", "[::1]", "a host:6379", "host/x:6379", "host:٦٣٧٩", "AUTO"),
    ],
)
def test_an_address_of_no_known_form_is_refused_before_anything_is_tried(address):
    with pytest.raises(InputError, match=r"resources.address = .*'local', 'auto' .*'HOST:PORT'"):
        make_spec({"resources.address": address})


@pytest.mark.parametrize(
    "address", ["local", "auto", "host:1", "10.0.0.7:65535", "[fd00::7]:6379", "node-1.x:6379"]
)
def test_an_address_of_a_known_form_is_taken(address):
    assert make_spec({"resources.address": address}).resources.address == address


def test_a_head_answers_in_http2_and_nothing_else_does(closed, monkeypatch):
    monkeypatch.setattr(joining, "ANSWER_SECONDS", 0.2)
    with listening(SETTINGS) as port:
        assert silence_of(f"127.0.0.1:{port}") == ""
    answers = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"", b"\x00\x00\x18"]
    for answer in answers:
        with listening(answer) as port:
            assert silence_of(f"127.0.0.1:{port}") == "another program does"
    with listening(None) as port:
        assert silence_of(f"127.0.0.1:{port}") == "timed out"
    assert silence_of(f"127.0.0.1:{closed}") == "Connection refused"
    assert silence_of("no.such.host.invalid:6379")
    assert "label" in silence_of("a..b:6379")


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_a_head_may_have_an_address_of_ipv6():
    with listening(SETTINGS, socket.AF_INET6) as port:
        assert silence_of(f"[::1]:{port}") == silence_of(f"::1:{port}") == ""


def test_encrypted_links_are_left_to_ray(monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with listening(b"\x15\x03\x03") as port:  # an alert of TLS
        assert silence_of(f"127.0.0.1:{port}") == ""


def test_an_address_where_nobody_is_gets_a_sentence(closed, monkeypatch):
    monkeypatch.setattr(services, "get_node_ip_address", lambda: "127.0.0.1")
    with pytest.raises(InputError) as caught:
        check_head(f"127.0.0.1:{closed}")
    told = str(caught.value)
    assert told.startswith(f"resources.address = '127.0.0.1:{closed}': no Ray cluster answers")
    assert "(Connection refused)" in told
    assert "'auto' finds the cluster of this machine" in told


def test_the_file_of_a_cluster_that_is_gone_is_not_believed(closed, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(services, "find_gcs_addresses", Found([]))
    with pytest.raises(InputError, match=r"'auto': no Ray runs on this machine"):
        check_head("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{closed}")
    monkeypatch.setattr(services, "get_node_ip_address", lambda: "127.0.0.1")
    with pytest.raises(InputError, match=rf"'auto' \(127.0.0.1:{closed}\): no Ray cluster answers"):
        check_head("auto")


class Found(list):
    """The heads that run on this machine."""

    def __call__(self):
        return self


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("ray://10.0.0.7:10001", "Ray's client is not supported"),
        ("10.0.0.7", "or 'HOST:PORT'"),
        ("no.such.host.invalid:6379", "no Ray cluster answers there"),
    ],
)
def test_an_address_of_the_environment_is_checked_as_a_given_one_is(named, told, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", named)
    with pytest.raises(InputError, match=f"^RAY_ADDRESS = '{named}'.*{told}"):
        check_head("auto")


def test_a_temporary_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with pytest.raises(MachineError, match=rf"{tmp_path}/file/ray: Not a directory.*RAY_TMPDIR"):
        check_temporary_folder()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    check_temporary_folder()
    assert list((tmp_path / "ray").iterdir()) == []
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr(joining.tempfile, "TemporaryFile", lambda dir: full)
        with pytest.raises(MachineError, match=rf"{tmp_path}/ray: No space left on device.*kept"):
            check_temporary_folder()


@pytest.mark.parametrize("named", ["", "here", "./scratch"])
def test_a_temporary_folder_is_a_whole_path(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", named)
    with pytest.raises(InputError, match=r"ray' is not an absolute path.*such as /tmp"):
        check_temporary_folder()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EDQUOT])
def test_whatever_the_system_says_of_the_temporary_folder_is_told(number, monkeypatch):
    def refuse(self, *args, **options):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MachineError, match=os.strerror(number)):
        check_temporary_folder()


# -- what Ray says, as it does, and what the user is told of it

TOKEN_WRONG = RuntimeError(
    "Failed to connect to GCS. Last connection error: Traceback (most recent call last):\n"
    '  File "python/ray/includes/common.pxi", line 119, in ray._raylet.check_status\n'
    "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is "
    "missing or incorrect.\n"
)
VERSIONS = RuntimeError(
    "Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n    Python: 3.12.1\n"
    "This process on node 10.0.0.7 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
)
SOCKET = OSError(
    "validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /very/long"
)
OTHER = RuntimeError(
    "Failed to connect to GCS. Last connection error: Traceback (most recent call last):\n"
    "ray.exceptions.RpcError: RPC error: Received http2 header with status: 404\n"
)
NO_NODE = RuntimeError("No node info found matching attributes: '' when trying to resolve node.")
SAID = {
    "a wrong token": (TOKEN_WRONG, InputError, "RAY_AUTH_MODE=token.*auth_token"),
    "no token": (AuthenticationError("no authentication token"), InputError, "RAY_AUTH_MODE=token"),
    "no token file": (
        AuthenticationError("RAY_AUTH_TOKEN_PATH is set but file cannot be opened: /x"),
        InputError,
        "RAY_AUTH_TOKEN_PATH names holds no readable token",
    ),
    "another server": (OTHER, InputError, "not the head of a Ray cluster"),
    "another machine": (NO_NODE, InputError, "this machine is not part of the cluster"),
    "versions": (VERSIONS, MachineError, r"Ray: 2.59.0 .* Python: 3.11.7\. Install the same"),
    "a long name": (SOCKET, MachineError, "temporary folder, /tmp/mine/ray, is too long.*RAY_TMP"),
    "a home": (
        PermissionError(errno.EROFS, "Read-only file system", "/home/me/.ray/auth_token"),
        MachineError,
        r"home folder .*Read-only file system.*Set HOME",
    ),
    "no home": (RuntimeError("Could not determine home directory."), MachineError, "Set HOME"),
    "no start": (
        RuntimeError("Timed out waiting for file /tmp/mine/ray/session_1/gcs_server_port_2"),
        MachineError,
        "/tmp/mine/ray is full.*/tmp/mine/ray/session_latest/logs",
    ),
    "a slow start": (Exception("The current node timed out during startup."), MachineError, "busy"),
    "of the system": (
        OSError(errno.EMFILE, "Too many open files", "/dev/shm/x"),
        MachineError,
        "Too many open files.*/dev/shm/x",
    ),
    "of no known kind": (
        RuntimeError("first\nthe last line\n"),
        MachineError,
        r"\(the last line\)",
    ),
    "of the network": (RpcError("Deadline Exceeded"), MachineError, r"\(Deadline Exceeded\)"),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", SAID)
def test_what_ray_says_becomes_a_sentence(name, wrapped, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/mine")
    error, kind, told = SAID[name]
    if wrapped:  # as ray.init does when it joins
        outer = ConnectionError("Failed to connect to Ray cluster at 10.0.0.7:6379")
        outer.__cause__ = error
        error = outer
    found = connection_error(error, "10.0.0.7:6379")
    assert type(found) is kind
    assert "\n" not in str(found)
    assert str(found).endswith(".")
    assert ("Finished trials are kept" in str(found)) == (kind is MachineError)
    with pytest.raises(kind, match=told):
        raise found


def test_an_error_of_no_known_kind_says_that_a_token_may_be_missing():
    error = RuntimeError("out of luck")
    assert "If the cluster asks for a token, set RAY_AUTH_MODE=token" in str(
        connection_error(error, "auto")
    )
    assert "token" not in str(connection_error(error, "local"))


# -- the real Ray


def start(address: str, **environment: str) -> str:
    """What a program says that starts or joins Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", STARTS, address],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is no home")
def test_ray_that_cannot_start_says_which_folder_it_is(tmp_path):
    told = start("local", HOME="/proc")
    assert told.startswith("MachineError Ray cannot keep a token in the home folder (/proc)")
    long = tmp_path / ("x" * 90)
    told = start("local", HOME=str(tmp_path), RAY_TMPDIR=str(long))
    assert told.startswith(f"MachineError the name of Ray's temporary folder, {long}/ray, is too")
    assert "such as /tmp. Finished trials are kept" in told

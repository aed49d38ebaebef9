"""Explain why Ray cannot be started or joined, in one sentence."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from pathlib import Path

from ray._common.utils import get_default_ray_temp_dir
from ray._private.services import canonicalize_bootstrap_address

from study.spec import check_address
from trainables.errors import InputError, MachineError, machine_error

ANSWER_SECONDS = 5.0  # time limit of a connection, and of an answer
ROOM_BYTES = 2**20  # free space needed in Ray's temporary folder

# Ray's head speaks HTTP/2: each side begins with a settings frame, type 4, which is empty here.
EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS

KEPT = "Finished trials are kept: correct this and run the same command to continue."

# A regular expression for a part of Ray's message, the type of the error, and the user's sentence.
TROUBLES: tuple[tuple[str, type[InputError | MachineError], str], ...] = (
    (
        "RAY_AUTH_TOKEN_PATH is set but",
        InputError,
        "the file that RAY_AUTH_TOKEN_PATH names holds no readable token of Ray. Name the file "
        "with the cluster's token, or unset the variable.",
    ),
    (
        "AuthenticationError|InvalidAuthToken",
        InputError,
        "{where}: the cluster asks for a token, and the token is missing or wrong. Set "
        "RAY_AUTH_MODE=token, and put the cluster's token in ~/.ray/auth_token on this machine.",
    ),
    (
        "RpcError: RPC error",
        InputError,
        "{where}: the process that answers there is not the head of a Ray cluster. Give the "
        "address that ray start --head printed, or 'auto' for the cluster of this machine.",
    ),
    (
        "No node info found",
        InputError,
        "{where}: this machine is not part of the cluster. Run the study on a machine of the "
        "cluster, or let this machine join first: ray start --address=HOST:PORT.",
    ),
    (
        r"(?P<problem>Version mismatch.*?)(?: RuntimeError:|$)",
        MachineError,
        "{where}: {problem}. Install the same versions on all machines.",
    ),
    (
        "AF_UNIX path length",
        MachineError,
        "the name of Ray's temporary folder, {temporary}, is too long: the name of a socket in it "
        "has at most 107 bytes. Name a shorter folder in RAY_TMPDIR, such as /tmp.",
    ),
    (
        r"/\.ray(/auth_token)?'|Could not determine home",
        MachineError,
        "Ray cannot keep a token in the home folder ({home}): {problem}. Set HOME to a folder that "
        "can be written, or RAY_AUTH_TOKEN to a token of your own.",
    ),
    (
        "Timed out waiting for file|timed out during startup",
        MachineError,
        "Ray did not start within half a minute: the machine is busy, or its temporary folder "
        "{temporary} is full. Ray's logs are in {temporary}/session_latest/logs.",
    ),
)


def check_temporary_folder() -> None:
    """Refuse a temporary folder that Ray cannot write; Ray itself would wait for half a minute."""
    folder = Path(get_default_ray_temp_dir())
    if not folder.is_absolute():  # an empty TMPDIR too
        raise InputError(
            f"Ray's temporary folder '{folder}' is not an absolute path. Set RAY_TMPDIR, or TMPDIR "
            "if RAY_TMPDIR is not set, to an absolute path such as /tmp."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM_BYTES))
    except OSError as error:
        raise MachineError(
            f"Ray cannot write its temporary folder {folder}: {error.strerror}. Make room, or name "
            f"another folder in RAY_TMPDIR. {KEPT}"
        ) from None


def check_head(address: str) -> None:
    """Refuse an address without the head of a cluster; Ray itself would try for minutes."""
    try:
        head = _head_of(address)
    except ValueError as error:
        raise InputError(f"{_where(address)}: {error}.") from None
    except ConnectionError:
        raise InputError(
            f"{_where(address)}: no Ray runs on this machine. Start it here with ray start, or "
            "use 'local'."
        ) from None
    if head and (problem := silence_of(head)):
        resolved = "" if head in _where(address) else f" ({head})"
        raise InputError(
            f"{_where(address)}{resolved}: no Ray cluster answers there ({problem}). Give the "
            "HOST:PORT that ray start --head printed, or start a cluster with this command. 'auto' "
            "finds the cluster of this machine; 'local' needs no cluster."
        )


def silence_of(address: str) -> str:
    """Return why no process of Ray answers at HOST:PORT; empty if one does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as link:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return ""
            link.sendall(GREETING)
            answer = link.makefile("rb").read(len(EMPTY_SETTINGS))
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "" if answer[3:4] == EMPTY_SETTINGS[3:4] else "another program does"


def connection_error(error: Exception, address: str) -> InputError | MachineError:
    """Return the error to show to a user when Ray cannot be started or joined."""
    chain = _chain(error)
    messages = " ".join(" ".join(f"{type(each).__name__}: {each}" for each in chain).split())
    systems = [each for each in chain if isinstance(each, OSError) and each.strerror]
    facts = {
        "where": _where(address),
        "temporary": get_default_ray_temp_dir(),
        "home": os.path.expanduser("~"),
        "problem": systems[0].strerror if systems else str(error),
    }
    for pattern, kind, sentence in TROUBLES:
        if found := re.search(pattern, messages):
            text = sentence.format(**facts | found.groupdict())
            return kind(text if kind is InputError else f"{text} {KEPT}")
    logging.getLogger("ray").error("Ray could not be started or joined", exc_info=error)
    if systems:
        return machine_error(systems[0], get_default_ray_temp_dir())
    line = str(chain[-1]).strip().rpartition("\n")[2]
    hint = (
        "" if address == "local" else " If the cluster asks for a token, set RAY_AUTH_MODE=token."
    )
    return MachineError(f"{facts['where']}: Ray cannot be used ({line}).{hint} {KEPT}")


def _chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _head_of(address: str) -> str | None:
    """Return HOST:PORT of the head at an address; None if Ray would start a new cluster."""
    if address == "auto" and os.environ.get("RAY_ADDRESS"):
        check_address(os.environ["RAY_ADDRESS"])
    head: str | None = canonicalize_bootstrap_address(address)
    return head


def _where(address: str) -> str:
    """Return the variable or key that sets an address, with its value, for errors."""
    variable = os.environ.get("RAY_ADDRESS")
    if address == "auto" and variable:
        return f"RAY_ADDRESS = '{variable}'"
    return f"resources.address = '{address}'"

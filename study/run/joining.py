"""What keeps Ray from being started or joined, in a sentence each."""

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

ANSWER_SECONDS = 5.0  # time for a connection, and for an answer
ROOM_BYTES = 2**20  # what Ray's temporary folder must have left

# Ray's head speaks HTTP/2, where each side begins with its settings: a frame of type 4, here empty.
EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS

KEPT = "Finished trials are kept: mend that and run the same command to go on."

# What Ray says (a part of it, as a regular expression), whose fault that is, and a user's sentence.
TROUBLES: tuple[tuple[str, type[InputError | MachineError], str], ...] = (
    (
        "RAY_AUTH_TOKEN_PATH is set but",
        InputError,
        "no token of Ray can be read from the file that RAY_AUTH_TOKEN_PATH names. Name one that "
        "holds the cluster's token, or unset it.",
    ),
    (
        "AuthenticationError|InvalidAuthToken",
        InputError,
        "{where}: the cluster asks for a token, and none or another one was given. Set "
        "RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token here as on its "
        "other machines.",
    ),
    (
        "RpcError: RPC error",
        InputError,
        "{where}: what answers there is no head of a Ray cluster. Give the address that "
        "ray start --head printed, or 'auto' for the cluster of this machine.",
    ),
    (
        "No node info found",
        InputError,
        "{where}: this machine is not part of that cluster. Run the study on one that is, or let "
        "this one join first: ray start --address=HOST:PORT.",
    ),
    (
        r"(?P<why>Version mismatch.*?)(?: RuntimeError:|$)",
        MachineError,
        "{where}: {why}. Install the same versions on all machines.",
    ),
    (
        "AF_UNIX path length",
        MachineError,
        "the name of Ray's temporary folder, {temporary}, is too long: a socket's, which lies in "
        "it, has 107 bytes at most. Name a short one in RAY_TMPDIR, such as /tmp.",
    ),
    (
        r"/\.ray(/auth_token)?'|Could not determine home",
        MachineError,
        "Ray keeps a token in the home folder ({home}), and cannot: {why}. Set HOME to a folder "
        "that can be written, or RAY_AUTH_TOKEN to a token of your own.",
    ),
    (
        "Timed out waiting for file|timed out during startup",
        MachineError,
        "Ray did not start within half a minute: the machine is busy, or its temporary folder "
        "{temporary} is full. Ray's logs are in {temporary}/session_latest/logs.",
    ),
)


def check_temporary_folder() -> None:
    """Refuse a temporary folder that Ray cannot write: it would wait there for half a minute."""
    folder = Path(get_default_ray_temp_dir())
    if not folder.is_absolute():  # an empty TMPDIR too
        raise InputError(
            f"Ray's temporary folder would be '{folder}', in whatever folder it runs. Set "
            "RAY_TMPDIR, or TMPDIR where that is not set, to a whole path such as /tmp."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM_BYTES))
    except OSError as error:
        raise MachineError(
            f"Ray cannot write its temporary folder {folder}: {error.strerror}. Make room there, "
            f"or name another in RAY_TMPDIR. {KEPT}"
        ) from None


def check_head(address: str) -> None:
    """Refuse an address where no head of a cluster answers: Ray would try it for minutes."""
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
        given = "" if head in _where(address) else f" ({head})"
        raise InputError(
            f"{_where(address)}{given}: no Ray cluster answers there ({problem}). Give the "
            "HOST:PORT that ray start --head printed, or start a cluster with it; 'auto' finds "
            "that of this machine, 'local' needs none."
        )


def silence_of(address: str) -> str:
    """Return why no process of Ray answers at HOST:PORT; nothing where one does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as link:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return ""
            link.sendall(GREETING)
            answer = link.makefile("rb").read(len(EMPTY_SETTINGS))
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "" if answer[3:4] == EMPTY_SETTINGS[3:4] else "something else does"


def explained(error: Exception, address: str) -> InputError | MachineError:
    """Return the error to be told when Ray could not be started or joined."""
    chain = _chain(error)
    told = " ".join(" ".join(f"{type(each).__name__}: {each}" for each in chain).split())
    systems = [each for each in chain if isinstance(each, OSError) and each.strerror]
    facts = {
        "where": _where(address),
        "temporary": get_default_ray_temp_dir(),
        "home": os.path.expanduser("~"),
        "why": systems[0].strerror if systems else str(error),
    }
    for pattern, kind, sentence in TROUBLES:
        if found := re.search(pattern, told):
            text = sentence.format(**facts | found.groupdict())
            return kind(text if kind is InputError else f"{text} {KEPT}")
    logging.getLogger("ray").error("Ray could not be started or joined", exc_info=error)
    if systems:
        return machine_error(systems[0], get_default_ray_temp_dir())
    line = str(chain[-1]).strip().rpartition("\n")[2]
    hint = "" if address == "local" else " If it asks for a token, set RAY_AUTH_MODE=token."
    return MachineError(f"{facts['where']}: Ray cannot be used ({line}).{hint} {KEPT}")


def _chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _head_of(address: str) -> str | None:
    """Return HOST:PORT of the head that an address leads to; none where Ray would start anew."""
    if address == "auto" and os.environ.get("RAY_ADDRESS"):
        check_address(os.environ["RAY_ADDRESS"])
    head: str | None = canonicalize_bootstrap_address(address)
    return head


def _where(address: str) -> str:
    """Return what named an address, for errors."""
    named = os.environ.get("RAY_ADDRESS")
    if address == "auto" and named:
        return f"RAY_ADDRESS = '{named}'"
    return f"resources.address = '{address}'"

"""Errors a user can mend: what is wrong, what is allowed, the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input of any kind. The command line prints its message and exits with 2."""


def unknown(what: str, name: object, allowed: Iterable[str]) -> InputError:
    """Return the error for a name that does not exist, with the nearest one that does."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {what} '{name}'.{hint} Allowed: {', '.join(names) or 'none'}.")

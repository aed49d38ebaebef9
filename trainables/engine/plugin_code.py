"""Hashes of the code of plug-ins and of a user's networks. Results depend on that code, and its
author may change it between two runs of a study without increasing the version of a class.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

# packages that are not a plug-in's own code
NOT_PLUGINS = {"trainables", "torch", "abc", "typing", "builtins", "functools"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def code_digest(code: type | Callable[..., Any], named_in: str = "") -> str:
    """Return a hash of the modules that define a class and its bases, or a function, independent of
    comments, docstrings and layout; empty for what is built in.

    Modules imported by these modules, and data files, are not hashed.

    Args:
        named_in: a further module to hash: the one that a study file names, where a function may
            be defined in terms of another module's, as with ``functools.partial``.
    """
    parts = code.__mro__ if isinstance(code, type) else [code]
    names = {named_in, *(getattr(part, "__module__", "") for part in parts)} - {""}
    sources = [_code(name) for name in sorted(names) if name.split(".")[0] not in NOT_PLUGINS]
    if not sources:
        return ""
    return hashlib.sha256("\n".join(sources).encode(errors="replace")).hexdigest()[:12]


def _code(module: str) -> str:
    """Return the syntax tree of a module as text, without comments and docstrings; empty for a
    module without source.
    """
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError, KeyError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)

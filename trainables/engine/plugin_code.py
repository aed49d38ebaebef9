"""The code of learners that are not ours: results depend on it, and its author may change it
between two runs of a study without raising a version number.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys

# no learner of a plug-in is defined in these
NOT_PLUGINS = {"trainables", "torch", "abc", "typing", "builtins"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def code_digest(kind: type) -> str:
    """Return a hash of the modules in which a class and its bases are defined, whatever their
    comments, docstrings and layout; empty where all of them are ours.

    Other modules that these import do not count, nor does data they read.
    """
    names = {base.__module__ for base in kind.__mro__}
    sources = [_code(name) for name in sorted(names) if name.split(".")[0] not in NOT_PLUGINS]
    if not sources:
        return ""
    return hashlib.sha256("\n".join(sources).encode(errors="replace")).hexdigest()[:12]


def _code(module: str) -> str:
    """Return what a module says, without comments and docstrings; empty where it has no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError, KeyError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)

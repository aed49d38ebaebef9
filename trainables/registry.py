"""Classes by their names in a study file, imported on first access.

A registry is a table of ``"name": "package.module:Class"``. Listing the names, and reading the
constants that the classes declare, imports no class: torch alone takes a second.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

Kind = TypeVar("Kind")


class Registry(MutableMapping[str, type[Kind]], Generic[Kind]):
    """Classes by name; a class is imported on first access.

    >>> from trainables import LEARNERS
    >>> "ewc" in LEARNERS
    True
    >>> LEARNERS["ewc"]
    <class 'trainables.methods.ewc.EWC'>
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._kinds: dict[str, str | type[Kind]] = dict(places)

    def __getitem__(self, name: str) -> type[Kind]:
        kind = self._kinds[name]
        if isinstance(kind, str):
            module, _, attribute = kind.partition(":")
            kind = self._kinds[name] = getattr(import_module(module), attribute)
        return kind

    def __setitem__(self, name: str, kind: type[Kind]) -> None:
        self._kinds[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def declared(self, name: str, attribute: str) -> Any:
        """Return a constant that a class declares, without importing the class.

        >>> from trainables import LEARNERS
        >>> LEARNERS.declared("ewc", "scenarios")
        ('task', 'domain', 'class')
        """
        kind = self._kinds[name]
        return declared(kind, attribute) if isinstance(kind, str) else getattr(kind, attribute)


def declared(place: str, attribute: str) -> Any:
    """Return the constant that a class, or else the first base that does so, assigns to an
    attribute. The value is read from the source, without importing the class; an attribute of
    another class, as in ``scenarios = Base.scenarios``, is followed.

    Args:
        place: ``"package.module:Class"``.

    Raises:
        AttributeError: neither the class nor a base assigns the attribute.
    """
    for module, node in _lineage(place):
        for value in _assigned(node, attribute):
            if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
                return declared(f"{module}:{value.value.id}", value.attr)
            return ast.literal_eval(value)
    raise AttributeError(f"{place} declares no {attribute}")


def _lineage(place: str) -> list[tuple[str, ast.ClassDef]]:
    """Return a class and its bases in method resolution order: left to right, a shared base after
    all the classes that derive from it.
    """
    module, _, name = place.partition(":")
    classes, imported = _names_of(module)
    if name not in classes:
        return _lineage(imported[name]) if name in imported else []
    lineage = [(module, classes[name])]
    for base in classes[name].bases:
        node = base.value if isinstance(base, ast.Subscript) else base  # Learner in Learner[Config]
        if isinstance(node, ast.Name):
            lineage += _lineage(f"{module}:{node.id}")
    return [pair for i, pair in enumerate(lineage) if pair not in lineage[i + 1 :]]


def _assigned(node: ast.ClassDef, attribute: str) -> Iterator[ast.expr]:
    """Yield the expressions that the body of a class assigns to an attribute."""
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            yield value


@functools.cache
def _names_of(module: str) -> tuple[dict[str, ast.ClassDef], dict[str, str]]:
    """Return the classes of a module by name, and the ``"module:name"`` of each imported name."""
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.has_location:  # built into Python
        return {}, {}
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    return (
        {node.name: node for node in body if isinstance(node, ast.ClassDef)},
        {a.asname or a.name: f"{node.module}:{a.name}" for node in imports for a in node.names},
    )

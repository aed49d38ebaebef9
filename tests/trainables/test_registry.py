"""What classes declare is read from their source as Python itself would have it."""

from __future__ import annotations

import sys
import textwrap

import pytest

from trainables import LEARNERS, STREAMS
from trainables.registry import Registry, declared

ATTRIBUTES = [
    (registry, name, attribute)
    for registry, told in ((LEARNERS, ("offline", "reference")), (STREAMS, ("tasks", "dataset")))
    for name in registry
    for attribute in (*told, "name", "scenarios")
]


def places(registry):
    """A fresh copy of a registry, none of whose classes has been looked up."""
    kinds = {name: f"{kind.__module__}:{kind.__name__}" for name, kind in registry.items()}
    return Registry(kinds)


@pytest.mark.parametrize(("registry", "name", "attribute"), ATTRIBUTES)
def test_what_is_read_is_what_the_class_has(registry, name, attribute):
    assert places(registry).declared(name, attribute) == getattr(registry[name], attribute)


@pytest.mark.parametrize("registry", [LEARNERS, STREAMS])
def test_each_class_bears_the_name_it_is_found_under(registry):
    assert {name: kind.name for name, kind in registry.items()} == {n: n for n in registry}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of classes that inherit from each other in a diamond; importing it raises."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "other_kinds.py").write_text("class Far:\n    size: int = 7\n    shape = (1, 2)\n")
    source = """
        from typing import Generic
        from other_kinds import Far as Away

        raise RuntimeError("imported")

        class Root(Generic[int]):
            kind = "root"
            found = None

        class Left(Root): ...

        class Right(Root):
            kind = "right"

        class Both(Left, Right, Away):
            shape = Right.kind
            made = len("abc")
    """
    (tmp_path / "kinds_of_a_test.py").write_text(textwrap.dedent(source))
    yield "kinds_of_a_test:Both"
    sys.modules.pop("kinds_of_a_test", None)


def test_bases_are_looked_up_in_pythons_order_without_importing_anything(module):
    assert declared(module, "kind") == "right"
    assert declared(module, "found") is None
    assert declared(module, "size") == 7
    assert declared(module, "shape") == "right"
    assert "kinds_of_a_test" not in sys.modules


def test_what_no_class_declares_is_said(module):
    with pytest.raises(AttributeError, match="kinds_of_a_test:Both declares no weight"):
        declared(module, "weight")


def test_a_class_is_imported_when_it_is_looked_up_and_once(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "one_kind.py").write_text("class Kind:\n    name = 'one'\n")
    registry = Registry({"one": "one_kind:Kind"})
    assert (list(registry), len(registry)) == (["one"], 1)
    assert "one_kind" not in sys.modules
    assert registry["one"] is registry["one"] is sys.modules.pop("one_kind").Kind
    del registry["one"]
    assert dict(registry) == {}

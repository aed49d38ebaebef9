"""The classes that stand for an idea of the domain are in the glossary, and all it names exist."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from torch import nn

import study
import trainables
from study.spec import FileSection
from trainables.learner import Learner
from trainables.options import Options
from trainables.streams import Stream

GLOSSARY = Path(__file__).parents[1] / "docs" / "glossary.md"

# how something is done, and no idea of the domain
MACHINERY = {
    "study": {
        "Console",
        "Halt",
        "KnownRun",
        "NodeWatch",
        "Nsga2",
        "Place",
        "Point",
        "Runs",
        "Server",
        "SourceScheduler",
        "TerminalStream",
        "Times",
        "TrialSettings",
        "WorkerWatch",
        "Writer",
    },
    "trainables": {
        "LearnerConformance",
        "Recorder",
        "Registry",
        "Run",
        "Snapshot",
        "Stateful",
        "Stored",
        "StreamConformance",
    },
}
# each of them is documented where it is listed: methods, streams, options, layers, errors
FAMILIES = (Learner, Stream, Options, FileSection, nn.Module, Exception)
PARTS = ("trainables.memory", "trainables.methods", "trainables.nn")  # of a family


def named():
    """The words of the glossary that are set as code."""
    return set(re.findall(r"`(\w+)`", GLOSSARY.read_text(encoding="utf-8")))


def public_classes(package):
    """The public classes that the modules of a package define."""
    found = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        content = vars(importlib.import_module(module.name))
        found |= {
            name: kind
            for name, kind in content.items()
            if inspect.isclass(kind) and kind.__module__ == module.name and name[0] != "_"
        }
    return found


def is_idea(name, kind):
    """Whether a class stands for an idea of its own."""
    if name in ("Memory", "SlotMemory"):
        return True
    return not (issubclass(kind, FAMILIES) or kind.__module__.startswith(PARTS))


@pytest.mark.parametrize("package", [study, trainables], ids=lambda p: p.__name__)
def test_every_idea_with_a_class_is_in_the_glossary(package):
    ideas = {name for name, kind in public_classes(package).items() if is_idea(name, kind)}
    assert ideas - MACHINERY[package.__name__] - named() == set()


def test_the_glossary_names_no_class_that_is_gone():
    classes = {**public_classes(study), **public_classes(trainables)}
    capitalised = {word for word in named() if word[0].isupper()}
    assert capitalised - set(classes) == set()

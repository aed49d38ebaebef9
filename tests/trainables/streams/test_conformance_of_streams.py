"""Every shipped stream inherits the conformance suite of streams, on made-up data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from own_data import NEEDED
from spike_files import speech

from trainables import STREAMS
from trainables.streams import Stream
from trainables.streams.own_file import FileFacts
from trainables.streams.testing import StreamConformance

SPEECH = {"steps": 2, "bits": 1}
SMALL: dict[str, list[dict[str, Any]]] = {
    "split_cifar100": [{"tasks": 10}],
    "split_cifar100_superclasses": [{"tasks": 4, "class_order": "shuffled"}],
    "split_tiny_imagenet": [{"tasks": 4}],
    "split_file": [NEEDED["split_file"], NEEDED["split_file"] | {"class_order": "shuffled"}],
    "vision_sequence": [{"datasets": ["fashion_mnist", "cifar10", "mnist"]}],
    "permuted_mnist": [{"tasks": 3}],
    "rotated_mnist": [{"angles": [0, 30]}],
}


def suite(kind: type[Stream], given: dict[str, Any]) -> type[StreamConformance]:
    class Suite(StreamConformance):
        stream = kind
        options = given

        @classmethod
        def data(cls):
            known = kind.data_set(cls.chosen())
            if known.speakers:
                return speech(known.speakers, known.classes, 12)
            return super().data()

    return Suite


for name, kind in STREAMS.items():
    spikes = SPEECH if "steps" in kind.Options.fields() else {}
    for number, given in enumerate(SMALL.get(name, [{}])):
        globals()[f"Test{kind.__name__}{number or ''}"] = suite(kind, given | spikes)


# -- a file whose samples have numbers

NUMBERED = FileFacts("0123abcd", 6, (5,), "float32", (3.0,), (2.0,), 0.0, 255.0, units=3)
TASKS, GROUPS = ((0, 1), (2, 3, 4), (5,)), ((0, 1, 2), (3, 4, 5))
OF_TASK, OF_GROUP = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1])


class Numbered(StreamConformance):
    stream = STREAMS["split_file"]

    @classmethod
    def data(cls):
        found = super().data()
        for split in found.values():
            labels = split["labels"]
            split["task"], split["group"] = OF_TASK[labels], OF_GROUP[labels]
            split["unit"] = np.zeros_like(labels)
            for label in range(NUMBERED.classes):
                mine = labels == label
                split["unit"][mine] = np.arange(mine.sum()) % NUMBERED.units
        return found


class TestTasksOfAFile(Numbered):
    options: ClassVar = {
        "contents": replace(NUMBERED, tasks=TASKS).text(),
        "split_by": "task",
        "samples_per_task": 9,
    }


class TestGroupsOfAFile(Numbered):
    options: ClassVar = {
        "contents": replace(NUMBERED, groups=GROUPS).text(),
        "split_by": "group",
    }


class TestClassesOfUnits(Numbered):
    options: ClassVar = {
        "contents": NUMBERED.text(),
        "tasks": 3,
        "class_order": "shuffled",
        "samples_per_task": 6,
    }

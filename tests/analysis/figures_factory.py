"""Study records with everything a figure can show, and a look at what it draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.text import Text

from analysis.figures import common, pictures
from analysis.one_study.analyse import analyse
from analysis.records import (
    DiagnosticRecord,
    MethodRecord,
    StudyRecord,
    TrialRecord,
    TuningRecord,
)

ODD = (
    "$x_1^{2}$",
    r"\frac{a}{b} & <b>\"q\"</b>",
    "_under %#~",
    "tab\tand\x00nul",
    "日本 ✓ 🙂",
    "a" * 90,
)


def matrix(rng, tasks, quality):
    values = quality - 0.03 * np.subtract.outer(range(tasks), range(tasks))
    values = np.clip(values + rng.normal(0, 0.02, (tasks, tasks)), 0, 1)
    values[np.triu_indices(tasks, 1)] = np.nan
    return values


def trial(rng, number, quality, objectives):
    params = {
        "lr": float(10 ** rng.uniform(-5, -1)),
        "ratio": float(rng.uniform()),
        "optimiser": str(rng.choice(["adam", "sgd"])),
        "online": bool(rng.integers(2)),
        "size": int(rng.integers(1, 90)),
    }
    if number % 5 == 3:
        return TrialRecord(number, "pruned", params)
    values = (quality + float(rng.normal(0, 0.05)), *(float(10 ** rng.uniform(3, 6)),) * 2)
    return TrialRecord(number, "complete", params, values[:objectives])


def tuning(rng, trials, quality, objectives, sampler):
    history = tuple(trial(rng, number, quality, objectives) for number in range(trials))
    values = [t.values[0] if t.values else None for t in history]
    share = {"lr": 0.5, "ratio": 0.3, "optimiser": 0.1, "online": 0.08, "size": 0.02}
    best = max((n for n, v in enumerate(values) if v is not None), key=lambda n: values[n])
    return TuningRecord(
        trials, 0, 1, 9.0, 10, 3, values, best, sampler, history, share if trials > 3 else {}
    )


def method(rng, place, name, seeds, tasks, trials=8, objectives=1, sampler="tpe"):
    quality = 0.9 - 0.02 * place
    matrices = {seed: matrix(rng, tasks, quality) for seed in seeds}
    spikes = {seed: rng.uniform(10, 20, (tasks, 2)) for seed in seeds}
    return MethodRecord(
        method=name,
        learner="joint" if place == 2 else name,
        offline=place == 2,
        configuration={},
        scores={seed: float(of[-1].mean()) for seed, of in matrices.items()},
        footprint={"memory": 0 if place % 3 == 0 else 10 ** (3 + place % 4)},
        tuning=tuning(rng, trials, quality, objectives, sampler) if trials else TuningRecord(),
        matrices=matrices,
        diagnostics=(
            DiagnosticRecord("spikes", "spikes per sample", "spikes", ("one", "two"), spikes),
        )
        if seeds
        else (),
    )


def study(methods=4, seeds=6, tasks=4, names=None, objectives=1, trials=8, sampler="tpe", **fields):
    rng = np.random.default_rng(1)
    names = names or [f"method_{place:02d}" for place in range(methods)]
    run = range(100, 100 + seeds)
    whole = {
        "study": "digits",
        "stream": "split_digits",
        "scenario": "class",
        "metric": "average_accuracy",
        "reference": names[0],
        "margin": 0.01,
        "alpha": 0.05,
        "failed_rule": "error",
        "protocol": "end_of_stream",
        "phase": "confirm",
        "planned_seeds": list(run),
        "tune_seeds": [0, 1, 2],
        "chance": 0.1,
        "methods": [
            method(rng, place, name, run, tasks, trials, objectives, sampler)
            for place, name in enumerate(names)
        ],
        "objectives": ("average_accuracy", "memory_bytes", "parameters")[:objectives],
        "directions": ("maximize", "minimize", "minimize")[:objectives],
    }
    return StudyRecord(**{**whole, **fields})


def analysis_of(**fields):
    return analyse(study(**fields))


def names(analysis):
    return [picture.name for picture in pictures(analysis)]


def picture(analysis, name):
    (found,) = [p for p in pictures(analysis) if p.name == name]
    return found


def svg(picture):
    """The picture as it stands in a page."""
    return common.inline(common.encoded(picture.draw(), "svg").decode(), picture)


def drawn(analysis, name):
    return picture(analysis, name).draw()


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title(loc="left") == title]
    return found


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def line(axes, label):
    (found,) = lines(axes, label)
    return found


def collection(axes, kind):
    (found,) = [c for c in axes.collections if isinstance(c, kind)]
    return found


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def with_method(record, place, **fields):
    methods = list(record.methods)
    methods[place] = replace(methods[place], **fields)
    return replace(record, methods=methods)

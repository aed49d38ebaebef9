"""Error rates and power of the anytime-valid tests, simulated: tables in Markdown.

    python tests/benchmarks/error_rates_sequential.py                      all tables, 4 minutes
    python tests/benchmarks/error_rates_sequential.py --only bets power    some
    python tests/benchmarks/error_rates_sequential.py --repeats 2000       rougher and faster

A study has up to 30 seeds and looks after each. Differences have standard deviation 1, not counting
collapses; the differences of a family share a reference and correlate with 0.5. With 10,000 studies
a share of 5 % has a standard error of 0.2 points.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics import paired
from analysis.statistics.estimates import Array
from analysis.statistics.power import paired_power
from analysis.statistics.sequential import BETS, one_sided_e

ALPHA = 0.05
SEEDS = 30
FEWEST = 6  # seeds of the first look, where a rule has one
STUDIES = 1000  # simulated at once
EFFECTS = (0.7, 1.0, 1.5, 2.0, 3.0)
SIZES = (1, 3, 11)  # of a family
ALTERNATIVES = (BETS, (1,), (2,), (0.5, 1), (1, 2), (1, 3), (0.5, 1, 2), (0.25, 0.5, 1, 2, 4))

Bets = Sequence[float]
Flags = NDArray[np.bool_]
Generator = np.random.Generator
Draw = Callable[[Generator, Sequence[int]], Array]  # numbers of mean 0


def collapses(depth: float, rng: Generator, shape: Sequence[int]) -> Array:
    """Return normal numbers, one in ten of them `depth` standard deviations lower; mean 0."""
    numbers: Array = rng.normal(0.1 * depth, 1, shape) - depth * (rng.random(shape) < 0.1)
    return numbers


def normal(rng: Generator, shape: Sequence[int]) -> Array:
    """Return standard normal numbers."""
    return rng.normal(size=shape)


def exponential(rng: Generator, shape: Sequence[int]) -> Array:
    """Return exponential numbers, centred."""
    return rng.exponential(size=shape) - 1


SYMMETRIC: dict[str, Draw] = {
    "normal": normal,
    "t, 3 degrees": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "Laplace": lambda rng, shape: rng.laplace(size=shape) / np.sqrt(2),
}
SKEWED: dict[str, Draw] = {
    "exponential": exponential,
    "10 % lower by 5 sd": partial(collapses, 5),
    "10 % lower by 20 sd": partial(collapses, 20),
}
SCORES: dict[str, tuple[Draw, Draw]] = {  # of methods, of the reference
    **{name: (draw, draw) for name, draw in SYMMETRIC.items()},
    "both exponential (symmetric differences)": (exponential, exponential),
    **{f"reference alone: {name}": (normal, draw) for name, draw in SKEWED.items()},
}


def family(scores: tuple[Draw, Draw], effects: Array, rng: Generator) -> Array:
    """Return differences from one reference, [studies, comparisons, seeds]; effects are in sd."""
    methods, reference = scores
    noise = methods(rng, (STUDIES, len(effects), SEEDS)) - reference(rng, (STUDIES, 1, SEEDS))
    differences: Array = noise / np.sqrt(2) + effects[:, None]
    return differences


def reached(differences: Array, size: int, bound: float = 0.0, bets: Bets = BETS) -> Flags:
    """Return whether "at most `bound`" is rejected after each seed, in a family of a given size.

    The verdicts ask a little more: that every smaller bound is rejected too.
    """
    e_values = one_sided_e(differences, bound, bets)
    return np.asarray(np.maximum.accumulate(e_values, axis=-1) >= 2 * size / ALPHA)


def differs(differences: Array, size: int, margin: float = 0.0, bets: Bets = BETS) -> Flags:
    """Return whether each comparison is found to differ, by more than a margin, after each seed."""
    up, down = (reached(d, size, margin, bets) for d in (differences, -differences))
    return np.asarray(up | down)


def equivalent(differences: Array, size: int, margin: float) -> Flags:
    """Return whether each comparison is found equivalent within a margin after each seed."""
    up, down = (reached(d, size, -margin) for d in (differences, -differences))
    return np.asarray(up & down)


def seeds_used(decided: Flags) -> NDArray[np.int_]:
    """Return the seeds until each comparison is decided; all seeds where none decides."""
    return np.where(decided.any(axis=-1), decided.argmax(axis=-1) + 1, SEEDS)


def means(repeats: int, simulate: Callable[[Generator], Array | Flags]) -> list[float]:
    """Return the mean over studies of what `simulate` returns for a batch, [studies, numbers]."""
    batches = range(max(1, repeats // STUDIES))
    found = [simulate(np.random.default_rng([17, b])).mean(axis=0) for b in batches]
    return [float(number) for number in np.mean(found, axis=0)]


def show(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table; numbers with a point are shares, in percent."""
    print(f"\n### {title}\n\n| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for row in rows:
        cells = (f"{100 * c:.1f} %" if isinstance(c, float) else str(c) for c in row)
        print(f"| {' | '.join(cells)} |", flush=True)


def unanimous(repeats: int) -> None:
    """Print the fewest equal differences that decide."""
    sizes = (1, 2, 4, 10)
    rows: list[Sequence[object]] = []
    for bets in ALTERNATIVES:
        seeds = [int(np.argmax(differs(np.ones(SEEDS), m, bets=bets))) + 1 for m in sizes]
        rows.append((f"bets {bets}", *seeds))
    exact = [paired.seeds_for_exact_test(m, ALPHA) for m in sizes]
    show(
        "Seeds that must agree, by comparisons", ["", *map(str, sizes)], [*rows, ("exact", *exact)]
    )


def bets(repeats: int) -> None:
    """Print the seeds until decided by bets: mean over symmetric laws and 1 and 11 comparisons."""

    def simulate(chosen: Bets, effect: float, rng: Generator) -> Array:
        found: list[Array] = []
        for draw, size in itertools.product(SYMMETRIC.values(), (1, 11)):
            decided = differs(family((draw, draw), np.full(size, effect), rng), size, bets=chosen)
            parts = [seeds_used(decided), decided[..., -1]]
            found.append(np.stack([part.mean(axis=-1) for part in parts], axis=-1))
        return np.asarray(np.mean(found, axis=0))

    rows: list[Sequence[object]] = []
    for chosen in ALTERNATIVES:
        found = [means(repeats // 5, partial(simulate, chosen, effect)) for effect in EFFECTS]
        seeds = [used for used, _ in found]
        rows.append((chosen, f"{np.mean(seeds):.2f}", *(f"{s:.1f}" for s in seeds), found[0][1]))
    headings = ["bets", "average", *(f"d_z = {d}" for d in EFFECTS), f"decided at {EFFECTS[0]}"]
    show("Seeds until decided, at most 30, by bets", headings, rows)


def stopping(repeats: int) -> None:
    """Print the false decisions of one comparison, by law and stopping rule."""

    def simulate(draw: Draw, rng: Generator) -> Flags:
        differences = draw(rng, (STUDIES, SEEDS))
        e_values = np.maximum(one_sided_e(differences), one_sided_e(-differences))
        first = (e_values >= 2 / ALPHA).any(axis=-1)
        rules = [first, promising(e_values), peeking_t(differences)]
        return np.column_stack([*rules, e_values[:, FEWEST - 1 :] >= 2 / ALPHA])

    rows = []
    for name, draw in (SYMMETRIC | SKEWED).items():
        first, added, t, *fixed = means(repeats, partial(simulate, draw))
        rows.append((name, first, added, max(fixed), t))
    rules = ["first decision", "6 seeds, 5 more while p < 0.2", "worst fixed n of 6 to 30"]
    title = "False decisions of one comparison (largest e-value in hindsight: as first decision)"
    show(title, ["differences", *rules, "t test after each seed from 6"], rows)


def promising(values: Array) -> Flags:
    """Return who decides by adding 5 seeds while the p-value 2 / e is below 0.2."""
    largest = np.maximum.accumulate(values, axis=-1)
    decided, going = np.zeros(len(values), dtype=bool), np.ones(len(values), dtype=bool)
    for n in range(FEWEST, SEEDS + 1, 5):
        decided |= going & (largest[:, n - 1] >= 2 / ALPHA)
        going &= largest[:, n - 1] > 2 / 0.2
    return decided


def peeking_t(differences: Array) -> Flags:
    """Return who rejects by a paired t test after each seed from the sixth."""
    rejects = np.zeros(len(differences), dtype=bool)
    for n in range(FEWEST, SEEDS + 1):
        rejects |= stats.ttest_1samp(differences[:, :n], 0.0, axis=-1).pvalue <= ALPHA
    return rejects


def families(repeats: int) -> None:
    """Print the studies with a false decision, by scores and comparisons.

    As often at most, an interval misses its true difference: a shift moves differences and interval
    alike.
    """

    def simulate(scores: tuple[Draw, Draw], size: int, real: int, rng: Generator) -> Flags:
        effects = np.where(np.arange(size) < real, 2.0, 0.0)
        decided = differs(family(scores, effects, rng), size)
        return np.asarray(decided[:, real:, -1].any(axis=-1, keepdims=True))

    cases = ((1, 0), (3, 0), (11, 0), (11, 5), (30, 0))
    rows = []
    for name, scores in SCORES.items():
        shares = [means(repeats, partial(simulate, scores, *case))[0] for case in cases]
        rows.append((name, *shares))
    headings = [f"{size}" if not real else f"{size}, {real} at d_z = 2" for size, real in cases]
    show("Studies with a false decision, by comparisons", ["scores", *headings], rows)


def directions(repeats: int) -> None:
    """Print the studies of 11 comparisons with a decision for the wrong direction."""

    def simulate(effects: Array, rng: Generator) -> Flags:
        down = reached(-family((normal, normal), effects, rng), len(effects))
        return np.asarray(down.any(axis=(-2, -1)))[:, None]

    cases = {
        "all 0.01": np.full(11, 0.01),
        "all 0.1": np.full(11, 0.1),
        "all 0.3": np.full(11, 0.3),
        "ten at 2, one at 0.01": np.array([2.0] * 10 + [0.01]),
        "0.01 to 2": np.geomspace(0.01, 2, 11),
    }
    rows = [(name, *means(repeats, partial(simulate, case))) for name, case in cases.items()]
    show("Studies with a wrong direction, 11 comparisons", ["true d_z", "wrong"], rows)


def power(repeats: int) -> None:
    """Print the decided comparisons and their seeds, by effect and comparisons."""

    def simulate(effect: float, size: int, rng: Generator) -> Array:
        decided = differs(family((normal, normal), np.full(size, effect), rng), size)
        parts = [decided[..., -1], seeds_used(decided)]
        return np.stack([part.mean(axis=-1) for part in parts], axis=-1)

    rows: list[Sequence[object]] = []
    for effect in EFFECTS:
        cells: list[object] = []
        for size in SIZES:
            share, seeds = means(repeats, partial(simulate, effect, size))
            cells += [share, f"{seeds:.1f}", paired_power(effect, 10, ALPHA / size)]
        rows.append((str(effect), *cells))
    headings = [
        f"{kind}, {size}" for size in SIZES for kind in ("decided", "seeds", "t test, n = 10")
    ]
    show("Decided comparisons and mean seeds, by comparisons", ["d_z", *headings], rows)


def margins(repeats: int) -> None:
    """Print the studies with a false statement about the margin, with the truth on the margin."""

    def simulate(scores: tuple[Draw, Draw], margin: float, size: int, rng: Generator) -> Flags:
        differences = family(scores, np.full(size, margin), rng)
        kinds = [differs(differences, size, margin), equivalent(differences, size, margin)]
        return np.stack([made[..., -1].any(axis=-1) for made in kinds], axis=-1)

    rows = []
    for (name, scores), margin in itertools.product(SCORES.items(), (0.5, 1.0, 2.0)):
        shares = [means(repeats, partial(simulate, scores, margin, size)) for size in SIZES]
        rows.append((name, f"{margin} sd", *itertools.chain(*shares)))
    headings = [f"{kind}, {size}" for size in SIZES for kind in ("beyond", "equivalent")]
    title = "Studies with a false statement, the truth on the margin, by comparisons"
    show(title, ["scores", "margin", *headings], rows)


def statements(repeats: int) -> None:
    """Print the true statements about the margin and their mean seeds."""

    def simulate(effect: float, margin: float, size: int, rng: Generator) -> Array:
        differences = family((normal, normal), np.full(size, effect), rng)
        found = equivalent if effect < margin else differs
        made = np.asarray(found(differences, size, margin))
        return np.stack([part.mean(axis=-1) for part in (made[..., -1], seeds_used(made))], axis=-1)

    rows: list[Sequence[object]] = []
    truths = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 0.5), (2, 0.5), (2, 1), (3, 1))
    for (effect, margin), size in itertools.product(truths, (1, 11)):
        share, seeds = means(repeats, partial(simulate, effect, margin, size))
        kind = "equivalent" if effect < margin else "beyond"
        rows.append((f"{effect} sd", f"{margin} sd", size, kind, share, f"{seeds:.1f}"))
    headings = ["truth", "margin", "comparisons", "statement", "made", "seeds"]
    show("True statements about the margin", headings, rows)


TABLES = {
    table.__name__: table
    for table in (
        unanimous,
        bets,
        stopping,
        families,
        directions,
        power,
        margins,
        statements,
    )
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--repeats", type=int, default=10_000, help="studies for each number")
    arguments = parser.parse_args()
    for name in arguments.only:
        TABLES[name](arguments.repeats)


if __name__ == "__main__":
    main()

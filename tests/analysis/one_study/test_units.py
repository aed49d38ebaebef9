"""Where speakers are paired and not seeds, every sentence says so."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from reported import NAMES, whole_study

from analysis.figures import across_pictures, matrix_picture, pictures
from analysis.many_studies.compare import compare_streams, streams_of
from analysis.one_study.analyse import analyse
from analysis.one_study.planning import plans
from analysis.one_study.units import by_unit
from analysis.records import MapRecord
from analysis.report.blocks import Bullets, Code, Paragraph, Picture, Table
from analysis.report.many_sections import across_sections
from analysis.report.sections import sections
from analysis.report.tables import power_table

# truly random: those a sweep trains on, and that of the bootstrap's generator
# what is of seeds, whatever is paired
RANDOM = re.compile(
    r"tuning seeds?|seeds per trial|generator PCG64 with seed|on fresh seeds and scores it|"
    r"on the same seeds, with the standard error"
)
SEED = re.compile(r".{0,40}\bseeds?\b.{0,40}", re.IGNORECASE | re.DOTALL)


def texts(block):
    match block:
        case Paragraph(text) | Code(text):
            return [text]
        case Bullets(lines):
            return list(lines)
        case Picture(_, title, caption):
            return [title, caption]
        case Table(title, caption=caption):
            cells = (cell for row in block.texts for cell in row)
            return [title, caption, *block.headings, *cells]


def words(parts):
    return "\n".join(
        text for part in parts for text in (part.title, *(t for b in part.blocks for t in texts(b)))
    )


def assert_speakers(text):
    assert "speaker" in text
    assert SEED.findall(RANDOM.sub("", text)) == []


def failing(study, **fields):
    first, second, *rest = study.methods
    seed = min(second.scores)
    scores = {**second.scores, seed: math.nan}
    return replace(study, methods=[first, replace(second, scores=scores), *rest], **fields)


def fewer(study, n):
    """The first method lacks all but n of its units."""
    first, *rest = study.methods
    return replace(
        study, methods=[replace(first, scores=dict(list(first.scores.items())[:n])), *rest]
    )


def constant(study):
    same = [replace(m, scores=dict.fromkeys(m.scores, 0.5)) for m in study.methods]
    return replace(study, methods=same)


CASES = {
    **{f"{n} units": whole_study(n=n) for n in (0, 1, 2, 3, 5, 6, 8, 23)},
    "many methods": whole_study([f"m{i}" for i in range(9)], n=6),
    "no effect": whole_study(margin=0.5),
    "failed": failing(whole_study()),
    "worst": failing(whole_study(), failed_rule="worst"),
    "unshared": fewer(whole_study(), 0),
    "missing": fewer(whole_study(), 4),
    "identical": constant(whole_study()),
    "later": whole_study(planned_seeds=[100, 101]),
    "reused": whole_study(tune_seeds=[0, 100]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_report_over_speakers_never_speaks_of_seeds(case):
    analysis = analyse(replace(CASES[case], unit="speaker"))
    assert_speakers(words(sections(analysis, pictures(analysis))))


def test_figures_over_speakers_have_no_seeds_drawn():
    analysis = analyse(whole_study(unit="speaker"))
    for picture in (*pictures(analysis), matrix_picture(analysis, 100)):
        drawn = "\n".join(text.get_text() for text in picture.draw().findobj(Text))
        assert SEED.findall(RANDOM.sub("", drawn)) == []


@pytest.mark.parametrize("seen", [(), (0.01, 0.02, math.nan), (0.1, 0.1, 0.1)])
@pytest.mark.parametrize("n", [0, 1, 4, 8])
def test_plans_over_speakers(n, seen):
    analysis = analyse(whole_study(n=n, unit="speaker"))
    for method, plan in plans(analysis, {"ewc": seen}).items():
        assert_speakers("\n".join(plan.sentences))
        assert_speakers("\n".join(texts(power_table(method, plan, analysis.form))))


CELLS = {  # of seeds 100 and 101, 102 and 103, 104
    100: [[[1.0, math.nan, 2.0]]],
    101: [[[3.0, math.nan, math.nan]]],
    102: [[[5.0, 5.0, 5.0]]],
    103: [[[7.0, 6.0, 5.0]]],
    104: [[[9.0, 9.0, 9.0]]],
}
MEANS = {50: [2.0, math.nan, 2.0], 51: [6.0, 5.5, 5.0], 52: [9.0, 9.0, 9.0]}
FIRSTS = {50: [1.0, math.nan, 2.0], 51: [5.0, 5.0, 5.0], 52: [9.0, 9.0, 9.0]}


@pytest.mark.parametrize(("averaged", "expected"), [(True, MEANS), (False, FIRSTS)])
@pytest.mark.filterwarnings("error")
def test_a_map_of_speakers(averaged, expected):
    panels = {"layer 1": {seed: np.array(cells) for seed, cells in CELLS.items()}}
    record = MapRecord("activity", "Activity", "", "cell", "class", averaged, panels)
    study = whole_study(NAMES[:1], n=5)
    [method] = study.methods
    study = replace(study, methods=[replace(method, maps=(record,))])
    found = by_unit(study, "speaker", lambda seed: seed // 2)
    [united] = found.methods[0].maps
    assert {u: of.tolist() for u, of in united.panels["layer 1"].items()} == {
        unit: [[pytest.approx(row, nan_ok=True)]] for unit, row in expected.items()
    }
    [picture] = [p for p in pictures(analyse(found)) if p.name.startswith("maps")]
    alone = "seed 100 of speaker 50 alone, the first of 3 speakers"
    assert (alone in picture.caption) is not averaged


def test_selection_and_shift_are_of_seeds_whatever_is_paired():
    recheck = dict(zip(range(100, 105), (0.1, 0.3, 0.5, 0.7, 0.9), strict=True))
    confirmed = dict.fromkeys(recheck, 0.4) | {100: 0.0}
    study = whole_study(NAMES[:1])
    [method] = study.methods
    tuning = replace(method.tuning, recheck=recheck, rechecked=confirmed)
    study = replace(study, methods=[replace(method, tuning=tuning)])
    speakers = by_unit(study, "speaker", lambda seed: seed // 2)
    rows = [analyse(each).tuning[0] for each in (study, speakers)]
    assert rows[0].shift == pytest.approx(0.5 - 0.32)
    assert rows[0] == rows[1]


def test_units_of_one_seed_are_the_seeds_under_other_numbers():
    study = whole_study()
    found = by_unit(study, "speaker", lambda seed: seed - 100)
    for before, after in zip(study.methods, found.methods, strict=True):
        assert after.scores == {seed - 100: score for seed, score in before.scores.items()}
    old, new = analyse(study), analyse(found)
    for before, after in zip(old.comparisons, new.comparisons, strict=True):
        assert (after.n, after.p_exact, after.verdict) == (before.n, before.p_exact, before.verdict)


def test_speakers_with_diverged_seeds_are_told_and_not_averaged_away():
    study = failing(whole_study())
    found = by_unit(study, "speaker", lambda seed: seed // 4)
    assert found.methods[1].diverged == {25: "seed 100: diverged"}
    assert found.methods[1].failures == {}
    reason = analyse(found).comparisons[0].reason
    assert "a diverged speaker would diverge again" in reason
    assert "--retry-failed" not in reason


def test_a_speaker_with_a_seed_that_crashed_may_run_again():
    first, second, *rest = whole_study().methods
    failed = {"diverged": {100: "diverged on task 2"}, "failures": {101: "killed"}}
    study = whole_study()
    study = replace(study, methods=[first, replace(second, **failed), *rest])
    found = by_unit(study, "speaker", lambda seed: seed // 4)
    reason = "seed 100: diverged on task 2; seed 101: killed"
    assert found.methods[1].failures == found.methods[1].failed_seeds == {25: reason}
    assert found.methods[1].diverged == {}
    assert "`run --retry-failed` runs again what crashed" in analyse(found).comparisons[0].reason


def several(*studies, **fields):
    return [
        analyse(replace(study, stream=f"s{i}", study=f"study{i}", **{"unit": "speaker", **fields}))
        for i, study in enumerate(studies)
    ]


ACROSS = {
    "six": [whole_study()] * 6,
    "nothing shared": [fewer(whole_study(), 0), whole_study()],
    "one": [whole_study()],
    "no interval": [whole_study(n=2), whole_study(n=2)],
    "unequal": [fewer(whole_study(), 5), whole_study(n=6)],
    "constant": [constant(whole_study()), constant(whole_study())],
    "failed": [whole_study(), failing(whole_study())],
}


@pytest.mark.parametrize("case", ACROSS)
def test_several_studies_over_speakers(case):
    analyses = several(*ACROSS[case])
    across = compare_streams(streams_of(analyses), resamples=50)
    assert_speakers(words(across_sections(across, analyses, across_pictures(across))))


def test_streams_with_units_of_their_own_speak_of_units():
    first, second = several(whole_study(), whole_study())
    other = analyse(replace(second.record, unit="class"))
    across = compare_streams(streams_of([first, other]), resamples=50)
    text = words(across_sections(across, [first, other], across_pictures(across)))
    assert "resamples of the units" in text
    assert SEED.findall(RANDOM.sub("", text)) == []

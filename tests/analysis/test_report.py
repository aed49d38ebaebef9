"""The Markdown report."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis import report
from analysis.results import analyse


def text_of(study):
    return report.markdown(analyse(study))


def test_the_page_has_its_parts_in_order(make_study):
    text = text_of(make_study())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings == [
        "digits",
        "Verdicts",
        "Methods",
        "Comparisons",
        "Notes",
        "Seeds",
        "Tuning",
        "Configurations",
        "Failures",
        "Provenance",
    ]
    assert "tuning: 0, 1, 2" in text
    assert "confirmation, planned: 100, 101" in text
    assert "No confirmation seed failed." in text
    assert "```sh\npython -m study run digits\n```" in text
    assert "Power: with 10 seeds" in text


def test_verdict_sentence(make_study):
    assert (
        "- finetune against replay: worse and practically. Difference -0.1000, 95 % CI -0.1075 to "
        "-0.0925, 10 seeds. Reason: Holm-adjusted exact p = 0.004; the whole interval lies beyond "
        "the practical margin."
    ) in text_of(make_study())


def test_names_cannot_break_the_table(make_method, make_study):
    name = "a|b*c_d`e<script>\\"
    methods = [make_method("replay", [0.8] * 6), make_method(name, np.linspace(0.6, 0.7, 6))]
    text = text_of(make_study(methods))
    assert r"a\|b\*c\_d\`e&lt;script>\\" in text
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    start = next(i for i, row in enumerate(rows) if row.startswith("| method | reference"))
    cells = [len(re.split(r"(?<!\\)\|", row)) for row in rows[start : start + 3]]
    assert len(set(cells)) == 1


def test_a_command_with_backticks_stays_in_its_block(make_study):
    text = text_of(make_study(provenance={"command": "run ```x"}))
    assert "````sh\nrun ```x\n````" in text


@pytest.mark.parametrize("scores", [[], [0.5], [0.5, 0.6], [0.5] * 3, [0.5] * 7])
@pytest.mark.filterwarnings("error")
def test_thin_studies_still_have_a_page(make_method, make_study, scores):
    methods = [make_method("replay", scores), make_method("ewc", scores)]
    text = text_of(make_study(methods))
    assert not re.search(r"\bnan\b", text.lower())
    assert "None" not in text
    assert "## Verdicts" in text


def test_a_study_without_comparison(make_method, make_study):
    assert "Nothing was compared." in text_of(make_study([make_method("replay", [0.8] * 6)]))


def test_failures_are_listed(make_method, make_study):
    methods = [
        make_method("replay", [0.8] * 6),
        make_method("ewc", [0.7] * 5, failures={105: "out of memory"}),
    ]
    text = text_of(make_study(methods, planned_seeds=list(range(100, 106))))
    assert "| ewc | 105 | out of memory | - |" in text
    assert "ewc against replay: no verdict." in text

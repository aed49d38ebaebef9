"""The Markdown report."""

from __future__ import annotations

import re

import numpy as np
import pytest
from reported import HOSTILE, hostile_study, pictures, whole_study

from analysis.formats import markdown
from analysis.one_study.analyse import analyse
from analysis.report.blocks import Bullets, Paragraph, Section
from analysis.report.sections import sections


def text_of(study, given=()):
    return markdown.render(study.study, sections(analyse(study), given))


def test_the_page_has_every_section_in_order(make_study):
    text = text_of(make_study())
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    parts = sections(analyse(make_study()))
    beginning = [part.title for part in parts if not part.part]
    assert headings == [*beginning, *dict.fromkeys(part.part for part in parts if part.part)]
    assert text.startswith("# digits\n")
    assert "tuning: 0, 1, 2" in text
    assert "confirmation, planned: 100, 101" in text
    assert "No confirmation seed failed." in text
    assert "- command: python -m study run digits" in text
    assert "Power: with 10 seeds" in text


def test_verdict_sentence(make_study):
    assert (
        "- finetune against replay: worse by more than the margin. Difference -10 points, "
        "simultaneous 95 % interval -11.00 to -9.00, 10 seeds. Reason: adjusted p = 0.004 "
        "(exact test); the interval lies beyond the margin."
    ) in text_of(make_study())


def test_pictures_are_links_with_their_caption():
    text = text_of(whole_study(), pictures())
    link = "![title of forest](figures/forest.svg)\n\ncaption of forest"
    assert link in text
    assert text.count("](figures/") == len(pictures())


def test_names_cannot_break_the_tables():
    text = text_of(hostile_study())
    assert r"a\|b\*c\_d\`e&lt;script>alert(1)&lt;/script>\\" in text
    assert r"100% \$x\_1^2\$ & #1 {\~} \[l\](u)" in text
    assert not re.search(r"<(script|img)", re.sub(r"(`{3,})sh\n.*?\n\1", "", text, flags=re.S))
    assert "&amp;amp; &amp;lt;" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- x", r"\- x"),
        ("1. one", r"1\. one"),
        ("#1", r"\#1"),
        ("> said", r"\> said"),
        ("-0.5 is less", "-0.5 is less"),
        ("1.5 is more", "1.5 is more"),
    ],
)
def test_text_never_begins_another_block(text, expected):
    page = markdown.render("t", [Section("s", (Paragraph(text), Bullets((text,))))])
    assert page == f"# t\n\n## s\n\n{expected}\n\n- {expected}\n"


def test_a_study_file_with_backticks_stays_in_its_block(make_study):
    text = text_of(make_study(study_file="# what ```x"))
    assert "````toml\n# what ```x\n````" in text


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
    assert "| ewc | 105 | out of memory | lr = 0.01 | - |" in text


def test_no_p_is_zero_and_nothing_is_bold(make_method, make_study):
    far = [make_method("replay", [0.9] * 20), make_method("ewc", np.linspace(0.1, 0.2, 20))]
    text = text_of(make_study(far))
    assert "p < 0.001" in text
    assert not re.search(r"[pq] (= )?0\.000", text)
    assert "**" not in text


def test_every_name_is_on_the_page():
    text = text_of(hostile_study())
    for name in HOSTILE:
        assert markdown.escape(name) in text

"""What goes into a paper: a table, a macro for every number, an appendix; it compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from reported import NAMES, hostile_study, whole_study

from analysis.formats import paper
from analysis.one_study.analyse import analyse
from analysis.one_study.leaders import leaders

MACRO = re.compile(r"\\newcommand\{\\(\w+)\}\{(.*)\}")


def rows_of(text):
    body = text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    return [line.removesuffix(r"\\").strip().split(" & ") for line in lines]


def test_the_table_has_plain_columns_and_a_short_caption():
    text = paper.results_table(analyse(whole_study()))
    assert r"\begin{tabular}{lrrr}" in text
    assert r"Method & Accuracy $\uparrow$ & Forgetting $\downarrow$ & Memory" in text
    (caption,) = re.findall(r"\\caption\{(.*)\}", text)
    assert len(caption) < 170
    assert "mean $\\pm$ sd over 8 seeds, metrics in percent" in caption


def test_the_numbers_are_those_of_the_analysis_and_the_leaders_are_bold():
    analysis = analyse(whole_study())
    rows = {row[0]: row[1:] for row in rows_of(paper.results_table(analysis))}
    for row in analysis.methods:
        score = f"{100 * row.mean:.1f} $\\pm$ {100 * row.sd:.1f}"
        is_bold = row.method in leaders(analysis)
        assert rows[row.method][0] == (rf"\textbf{{{score}}}" if is_bold else score)
    assert leaders(analysis) == ("replay",)


def test_too_few_seeds_leave_nothing_bold():
    text = paper.results_table(analyse(whole_study(n=5)))
    assert r"\textbf" not in text
    assert "Bold" not in text


def test_offline_bounds_stand_below_a_line():
    study = whole_study()
    bound = replace(study.methods[2], offline=True)
    text = paper.results_table(analyse(replace(study, methods=[*study.methods[:2], bound])))
    assert text.rindex(r"\midrule") > text.index("ewc &")
    assert [row[0] for row in rows_of(text.replace(r"\midrule", "", 1))] == [
        study.methods[2].method
    ]


def test_every_number_has_a_macro_of_letters():
    analysis = analyse(whole_study(["er_10", "ewc", "finetune"]))
    found = MACRO.findall(paper.paper_files(analysis)["numbers.tex"])
    macros = dict(found)
    assert len(macros) == len(found)
    assert all(name.isalpha() for name in macros)
    row, c = analysis.methods[0], analysis.comparisons[0]
    assert macros["resErOneZeroMean"] == f"{100 * row.mean:.1f}"
    assert macros["resEwcDifference"] == f"$-${-100 * c.difference:.1f}"
    assert macros["resEwcVerdict"] == c.verdict
    assert macros["resSeeds"] == "8"


def test_the_distance_of_a_bound_and_every_spread_have_macros():
    study = whole_study(["er", "ewc", "joint"])
    bound = replace(study.methods[2], offline=True)
    analysis = analyse(replace(study, methods=[*study.methods[:2], bound]))
    macros = dict(MACRO.findall(paper.paper_files(analysis)["numbers.tex"]))
    gap = next(gap for gap in analysis.gaps if gap.method == "er")
    assert macros["resJointDifference"] == f"$-${-100 * gap.difference:.1f}"
    assert {"resJointInterval", "resErForgettingSd", "resEwcDetectable"} <= set(macros)


def test_names_that_differ_in_signs_have_macros_of_their_own():
    names = [
        name
        for name, _ in MACRO.findall(
            paper.paper_files(analyse(whole_study(["a-b", "a_b"])))["numbers.tex"]
        )
    ]
    assert len(set(names)) == len(names)
    assert {"resABMean", "resABMeanX"} <= set(names)


def test_the_appendix_has_every_option_and_every_seed():
    study = whole_study(n=50)
    text = paper.paper_files(analyse(study))["appendix.tex"]
    for method in study.methods:
        assert f"{method.method} & lr & 0.0001 to 1 & log & 0.01" in text
    seeds = [row[0] for row in re.findall(r"^(\d+)( & [\d.]+)+ \\\\$", text, re.MULTILINE)]
    assert seeds == [str(seed) for seed in range(100, 150)]
    assert text.count(r"\begin{table}") == 4  # the seeds in two
    for method in study.methods:
        assert f"{method.method} & {method.learner} & lr = 0.01" in text
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels)


def test_many_methods_stand_in_several_tables():
    text = paper.paper_files(analyse(whole_study([f"m{i}" for i in range(13)])))["appendix.tex"]
    heads = [line.split(" & ") for line in text.splitlines() if line.startswith("seed & ")]
    assert [len(head) - 1 for head in heads] == [6, 6, 1]


def test_before_the_confirmation_there_is_nothing_for_a_paper():
    assert paper.paper_files(analyse(whole_study(n=0))) == {}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("study", [whole_study(n=30), hostile_study(), whole_study(NAMES[:1], n=1)])
def test_the_example_compiles(tmp_path, study):
    for name, text in paper.paper_files(analyse(study)).items():
        (tmp_path / name).write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout.lower().replace("undefined in", "")

"""Tables in LaTeX: escaped, balanced, on the page, and accepted by pdfTeX."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from reported import hostile_study, table, whole_study

from analysis.formats import latex
from analysis.one_study.analyse import analyse
from analysis.report.blocks import Table
from analysis.report.sections import sections


def tables_of(study):
    parts = sections(analyse(study))
    return [block for part in parts for block in part.blocks if isinstance(block, Table)]


def unescaped(text):
    """The text without commands for single characters."""
    return re.sub(r"\\[{}$&#_%]", "", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 % of #1 {x}", r"a\_b \& 5 \% of \#1 \{x\}"),
        ("$x^2$ ~ \\y", r"\$x\textasciicircum{}2\$ \textasciitilde{} \textbackslash{}y"),
        ("a < b > c | d", r"a \textless{} b \textgreater{} c \textbar{} d"),
        ("0.8 ± 0.1", r"0.8 $\pm$ 0.1"),
        ("1 – 2 — 3 … ≤ ×", r"1 -- 2 --- 3 \ldots{} $\leq$ $\times$"),
        ("-0.10 to -0.05 (-1)", r"$-$0.10 to $-$0.05 ($-$1)"),
        ("2020-01-02, ewc-2", "2020-01-02, ewc-2"),
        ("naïve façade ß", r"na\"{i}ve fa\c{c}ade \ss{}"),
        ("cafe\u0301", r"caf\'{e}"),
        ("日", "{[}U+65E5{]}"),
        ("a--b ?` [x] *", "a-{}-b ?{`} {[}x{]} {*}"),
        ("two\n lines", "two lines"),
    ],
)
def test_escape(text, expected):
    assert latex.escape(text) == expected


def test_a_word_longer_than_its_column_may_be_broken():
    assert latex.escape("x" * 16).count(r"\allowbreak{}") == 15
    assert r"\allowbreak" not in latex.escape("average_metric")


def test_a_narrow_table():
    rows = [["ewc", "10", "-0.1"], ["-", "9", None]]  # which may be a method's name
    made = table(["method", "n", "x_1"], rows, ["n", "x_1"])
    assert latex.latex(made) == "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering",
            r"\caption[Title]{Title. Caption.}",
            r"\label{tab:name}",
            r"\footnotesize",
            r"\begin{tabular}{lrr}",
            r"\toprule",
            r"method & n & x\_1 \tabularnewline",
            r"\midrule",
            r"ewc & 10 & $-$0.1 \tabularnewline",
            r"- & 9 & -- \tabularnewline",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def test_a_wide_table_wraps_within_the_line():
    made = table(["method", "reason", "n"], [["ewc", "because " * 30, "7"]], ["n"])
    text = latex.latex(made)
    shares = [float(share) for share in re.findall(r"dimexpr([\d.]+)\\linewidth", text)]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1, abs=0.001)
    assert shares[1] > 0.5
    assert r"\raggedleft 7" in text


def test_numbers_stay_on_a_line_where_they_can():
    rows = [["ewc", "-0.1075 to -0.0925", "because " * 30]]
    made = table(["method", "CI", "reason"], rows, ["CI"])
    share = float(re.findall(r"dimexpr([\d.]+)\\linewidth", latex.latex(made))[1])
    assert share * latex.NARROW >= len("-0.1075 to -0.0925")


def test_a_long_table_is_several_floats_with_every_row_once():
    made = table(["method", "n"], [[f"m{i}", str(i)] for i in range(200)])
    text = latex.latex(made)
    assert re.findall(r"^m(\d+) &", text, re.MULTILINE) == [str(i) for i in range(200)]
    floats = text.count(r"\begin{table}")
    assert floats == text.count(r"\end{table}") == text.count("method & n")
    assert floats == 5
    assert text.count(r"\label{tab:name}") == 1
    assert text.count("Title, continued.") == floats - 1


def test_a_row_that_begins_with_a_bracket_is_no_argument():
    text = latex.latex(table(["m", "n"], [["a", "1"], ["[3pt]", "*"]]))
    assert "\n{[}3pt{]} & {*} \\tabularnewline" in text


@pytest.mark.parametrize("study", [whole_study, hostile_study])
def test_every_table_is_balanced_and_escaped(study):
    made = tables_of(study())
    assert len(made) > 10
    for each in made:
        text = latex.latex(each)
        assert text.isascii()
        assert "U+2" not in text  # no sign of the report itself is unknown
        assert unescaped(text).count("{") == unescaped(text).count("}")
        assert unescaped(text).count("$") % 2 == 0
        assert not re.search(r"[%#~<>|]", unescaped(text))
        rows = [line for line in text.splitlines() if line.endswith(r"\tabularnewline")]
        separators = {len(re.findall(r"(?<!\\)&", row)) for row in rows}
        assert separators == {len(each.headings) - 1}
        assert len(rows) >= len(each.rows) + 1


def test_labels_are_plain_whatever_the_name():
    made = table("mn", [["a", "1"]], name="a_b % $x$")
    assert r"\label{tab:a_b----x-}" in latex.latex(made)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("study", [whole_study, hostile_study])
def test_pdftex_accepts_every_table_with_booktabs_alone(study, tmp_path):
    made = tables_of(study(n=12, tasks=12))
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    body = "\\clearpage\n".join(latex.latex(each) for each in made)
    (tmp_path / "all.tex").write_text(f"{head}{body}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Float too large" not in log
    overfull = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert max(overfull, default=0) < 20


def test_a_long_name_in_a_narrow_column_may_be_broken_at_its_joints():
    made = table(["method", "reason"], [["two_readouts", "because " * 30]])
    assert "two\\_\\allowbreak{}readouts" in latex.latex(made)

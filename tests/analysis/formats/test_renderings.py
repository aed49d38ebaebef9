"""Which files a report has, and that they agree."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time

import figures_factory
import pytest
from reported import hostile_study, pictures, svg, whole_study

from analysis import figures
from analysis.formats.renderings import across_files, files
from analysis.many_studies.compare import compare_streams, streams_of
from analysis.one_study.analyse import analyse


def test_files_of_a_study():
    texts = files(analyse(whole_study()), pictures(), svg)
    tables = {path for path in texts if path.startswith("tables/")}
    paper = {f"paper/{name}.tex" for name in ("main", "numbers", "results", "appendix")}
    assert set(texts) - tables == {"index.html", "report.md", "report.json", *paper}
    for name in ("methods", "comparisons", "tuning", "secondary", "per_task", "seeds"):
        assert {f"tables/{name}.csv", f"tables/{name}.tex"} <= tables
    assert {"tables/published.csv", "tables/pareto.csv"} <= tables
    assert all(text.endswith("\n") for text in texts.values())
    assert json.loads(texts["report.json"])["study"] == "digits"


def cell(value):
    """What a CSV file holds of a value in JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)


@pytest.mark.parametrize("study", [whole_study, hostile_study])
def test_the_document_holds_everything_that_the_csv_files_hold(study):
    texts = files(analyse(study()), (), svg)
    assert_all_rows(texts)
    assert {"results", "seeds", "diagnostics", "per_task"} <= {
        *json.loads(texts["report.json"])["tables"]
    }


def test_the_document_over_studies_holds_everything_that_the_csv_files_hold():
    analyses = [analyse(whole_study(stream=f"s{i}", study=f"study{i}")) for i in range(6)]
    across = compare_streams(streams_of(analyses), resamples=100)
    texts = across_files(across, analyses, (), svg)
    assert_all_rows(texts)
    for study in json.loads(texts["report.json"])["studies"]:
        assert study["tables"]["seeds"]


def assert_all_rows(texts):
    """Check that every cell of every CSV file is in the document."""
    found = json.loads(texts["report.json"])["tables"]
    names = {path for path in texts if path.endswith(".csv")}
    assert {f"tables/{name}.csv" for name in found} == names
    for name, records in found.items():
        read = list(csv.DictReader(io.StringIO(texts[f"tables/{name}.csv"])))
        plain = [{key: text.removeprefix("'") for key, text in row.items()} for row in read]
        shown = [{k: cell(v).removeprefix("'") for k, v in row.items()} for row in records]
        assert [{k: v.replace("\r", "\n") for k, v in row.items()} for row in shown] == plain


def test_paths_never_depend_on_names():
    hostile, plain = hostile_study(), whole_study([f"m{i}" for i in range(6)])
    assert set(files(analyse(hostile), (), svg)) == set(files(analyse(plain), (), svg))


def test_a_wide_table_has_one_csv_and_a_tex_for_each_part():
    texts = files(analyse(whole_study(n=12)), (), svg)
    assert "tables/seeds-2.tex" in texts
    assert "tables/seeds-2.csv" not in texts
    assert texts["tables/seeds.csv"].count("\n") == 1 + 3 * 12


def test_the_same_analysis_gives_the_same_bytes():
    first, second = (files(analyse(whole_study()), pictures(), svg) for _ in range(2))
    assert first == second


def test_drawn_figures_keep_their_parts_together_on_one_page():
    analysis = analyse(whole_study())
    drawn = figures.pictures(analysis)
    page = files(analysis, drawn, figures_factory.svg)["index.html"]
    ids = re.findall(r'\bid="([^"]+)"', page)
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|aria-labelledby="([^"]+)"', page)
    assert page.count("<svg") == len(drawn) > 5
    assert len(set(ids)) == len(ids)
    assert {name for names in used for name in names if name} <= set(ids)


def test_without_pictures_nothing_is_drawn(monkeypatch):
    monkeypatch.setitem(sys.modules, "analysis.figures", None)
    assert "<svg" not in files(analyse(whole_study()), (), svg)["index.html"]


@pytest.mark.filterwarnings("error")
def test_thirty_methods_take_less_than_four_seconds():
    names = [f"method_{i:02}" for i in range(30)]
    analysis = analyse(whole_study(names, n=12, tasks=10))
    start = time.process_time()
    files(analysis, (), svg)
    assert time.process_time() - start < 4


def test_files_of_several_studies():
    analyses = [analyse(whole_study(stream=f"s{i}", study=f"study{i}")) for i in range(2)]
    across = compare_streams(streams_of(analyses), resamples=50)
    texts = across_files(across, analyses, pictures(["iqm", "p-win"]), svg)
    document = json.loads(texts["report.json"])
    assert document["streams"] == ["s0", "s1"]
    assert [study["study"] for study in document["studies"]] == ["study0", "study1"]
    assert {"index.html", "report.md", "tables/contrasts.csv", "tables/verdicts.tex"} <= set(texts)
    assert texts["index.html"].count("<svg") == 2

"""The report of several studies before any format."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from reported import pictures, whole_study

from analysis.formats.data import across_to_csv
from analysis.many_studies.compare import compare_streams, streams_of
from analysis.one_study.analyse import analyse
from analysis.report.blocks import Table
from analysis.report.many_sections import across_sections as sections_of

pytestmark = pytest.mark.filterwarnings("error")
PICTURES = ("iqm", "p-win", "critical-difference")


def studies(count, **fields):
    return [analyse(whole_study(stream=f"s{i}", study=f"study{i}", **fields)) for i in range(count)]


def report(analyses, given=()):
    across = compare_streams(streams_of(analyses), resamples=100)
    return across, {part.title: part.blocks for part in sections_of(across, analyses, given)}


def table(parts, section, name):
    return next(b for b in parts[section] if isinstance(b, Table) and b.name == name)


def test_six_streams():
    across, parts = report(studies(6), pictures(PICTURES))
    assert list(parts) == [
        *("Question", "Over all streams", "Averages over streams", "Each stream", "Ranks"),
        *("Notes", "Provenance"),
    ]
    assert parts["Ranks"][0].text == across.ranking.summary
    assert parts["Ranks"][1].name == "critical-difference"
    assert [b.name for b in parts["Averages over streams"]][2:] == ["iqm", "p-win"]
    ranks = table(parts, "Ranks", "ranks")
    assert [row[0] for row in ranks.texts] == list(across.ranking.methods)
    assert len(table(parts, "Each stream", "verdicts").rows) == 6 * 2
    assert len(table(parts, "Each stream", "streams").rows) == 6 * 2


def test_sentences_say_what_the_contrasts_hold():
    across, parts = report(studies(3))
    (lines,) = parts["Over all streams"]
    first = across.contrasts[0]
    assert lines.lines[0].startswith(f"ewc against replay: P(win) {first.p_win.value:.2f} (95 % CI")
    assert f"mean difference (points) {100 * first.difference.value:.2f} (95 % CI" in lines.lines[0]


def test_few_streams_have_no_ranks_and_a_reason():
    across, parts = report(studies(2), pictures(PICTURES))
    assert [block.text for block in parts["Ranks"]] == [across.no_ranking]
    assert "Ranks need 5 streams" in across.no_ranking


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_streams(count):
    _, parts = report(studies(count))
    assert "Over all streams" not in parts
    assert parts["Notes"][0].lines


def test_what_was_changed_after_looking_in_one_study_is_told():
    first, second = studies(2)
    changed = {"changed after looking": "margin was 0.01, now 0.05", "git": "abc"}
    _, parts = report([first, analyse(replace(second.record, provenance=changed))])
    lines = parts["Notes"][0].lines
    assert lines[0] == "study1, changed after looking: margin was 0.01, now 0.05."
    assert "study0" not in " ".join(lines)


def test_what_is_left_out_is_listed():
    first, second = studies(2)
    record = replace(second.record, methods=second.record.methods[:2])
    _, parts = report([first, analyse(record)])
    (left,) = parts["Left out"]
    assert left.texts[0][:2] == ("finetune", "method")


def test_files_hold_unrounded_numbers():
    analyses = studies(5)
    across = compare_streams(streams_of(analyses), resamples=100)
    texts = across_to_csv(across, analyses)
    read = {name: list(csv.DictReader(io.StringIO(text))) for name, text in texts.items()}
    first = across.contrasts[0]
    assert float(read["contrasts.csv"][0]["p_win"]) == first.p_win.value
    assert float(read["contrasts.csv"][0]["iqm_low"]) == first.iqm_difference.low
    assert float(read["streams.csv"][1]["difference"]) == first.streams[1].difference
    assert float(read["ranks.csv"][0]["rank"]) == across.ranking.ranks[0]
    assert read["verdicts.csv"][-1]["study"] == "study4"
    blocks = [block for part in sections_of(across, analyses) for block in part.blocks]
    assert {f"{b.name}.csv" for b in blocks if isinstance(b, Table)} == set(texts)

"""The site is built without a warning, its links have targets, and its reference is complete."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.metrics import METRICS
from analysis.one_study import verdicts
from docs import reference
from study import spec
from study.spec import FileSection
from trainables import STREAMS, find_stream

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODELS = {kind.__name__: kind for kind in FileSection.__subclasses__()}


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    return subprocess.run(
        [sys.executable, *words, "-c", str(DOCS), str(source), str(target)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site."""
    target = tmp_path_factory.mktemp("site")
    done = build(DOCS, target)
    assert done.returncode == 0, done.stderr
    return target


def text_of(page: Path) -> str:
    """Return what a reader sees, with the marks of code."""
    content = re.sub(r"</?(?!/?code)[^>]*>", "", page.read_text(encoding="utf-8"))
    return html.unescape(re.sub(r"<(/?)code[^>]*>", "`", content))


def test_every_key_of_a_study_file_is_described(site):
    text, help_of = text_of(site / "study_file.html"), reference.docstrings()
    for name, model in MODELS.items():
        for key in model.model_fields:
            assert help_of[name].get(key), f"{name}.{key} has no docstring below it"
            assert f"`{key}`" in text or name == "Spec"


def test_every_table_of_a_study_file_has_a_section():
    schema = spec.Spec.model_json_schema()
    assert {*reference.tables(schema)} == {*MODELS} - {"Spec"}


def test_a_key_has_its_values_and_its_default(site):
    text = " ".join(text_of(site / "study_file.html").split())
    assert "`repeats` whole number, 1 to 20 `1` independent sweeps of each method" in text
    assert '`pruner` `none`, `asha` `"none"`' in text


def test_every_option_of_a_stream_is_described(site):
    text = text_of(site / "study_file.html")
    for name in STREAMS:
        for option in {*find_stream(name).Options.fields()} - reference.SET_BY_THE_PROGRAM:
            assert f"`{option}`" in text


def test_every_metric_is_described(site):
    text = " ".join(text_of(site / "metrics.html").split())
    for name, metric in METRICS.items():
        assert f"`{name}`" in text
        assert metric.description.replace("`", "") in text.replace("`", "")


def test_every_verdict_is_explained():
    page = (DOCS / "reading_a_verdict.md").read_text(encoding="utf-8")
    better, more, less = verdicts.BETTER, verdicts.BY_MORE, verdicts.BY_LESS
    others = (verdicts.EQUIVALENT, verdicts.INCONCLUSIVE, verdicts.NO_VERDICT, verdicts.IDENTICAL)
    for word in (better, better + more, better + less, *others, verdicts.SUGGESTIVE):
        assert f"*{word.strip()}" in page, word


def test_the_links_of_the_readme_have_targets(site):
    for link in LINK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        assert (REPOSITORY / path).exists(), link
        if anchor:
            page = (site / Path(path).with_suffix(".html").name).read_text(encoding="utf-8")
            assert f'id="{anchor}"' in page, link


@pytest.mark.parametrize("link", ["missing.md", "index.md#no-such-heading", "#no-such-heading"])
def test_a_link_without_a_target_stops_the_build(tmp_path, link):
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"# A page\n\n[a link]({link})\n")
    done = build(pages, tmp_path / "site")
    assert done.returncode == 1
    assert link.rpartition("#")[2] in done.stderr

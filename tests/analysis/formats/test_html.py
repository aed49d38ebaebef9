"""The page: well formed, alone, escaped, and readable without eyes."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import chain, groupby

import pytest
from reported import (
    HOSTILE,
    NAMES,
    hostile_study,
    pictures,
    repeated_study,
    svg,
    table,
    whole_study,
)

from analysis.formats import html
from analysis.one_study.analyse import analyse
from analysis.report.blocks import Section, Table
from analysis.report.sections import sections

ALONE = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """Every element with its attributes and text; a tag that is not closed in order is an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), []))
        if tag not in ALONE:
            self.open.append((tag, self.found[-1][2]))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, texts in self.open:
            texts.append(data)

    def texts(self, tag):
        return ["".join(texts).strip() for name, _, texts in self.found if name == tag]

    def attributes(self, name):
        return [given[name] for _, given, _ in self.found if name in given]


def page_of(study, given=()):
    parts = sections(analyse(study), given)
    return html.render(study.study, parts, svg), parts


@pytest.fixture(scope="module")
def whole():
    text, parts = page_of(whole_study(), pictures())
    return text, Page(text), parts


def test_sections_in_order_with_contents(whole):
    _, page, parts = whole
    closed = [list(of) for part, of in groupby(parts, lambda section: section.part) if part]
    beginning = [section.title for section in parts if not section.part]
    assert page.texts("h1") == ["digits"]
    assert page.texts("h2") == [*beginning, *(of[0].part for of in closed)]
    assert page.texts("h3") == [section.title for of in closed for section in of]
    listed = [[of[0].part, *(section.title for section in of)] for of in closed]
    assert page.texts("a") == ["To the report", *beginning, *chain(*listed)]
    links = [link.removeprefix("#") for link in page.attributes("href")]
    assert set(links) <= set(page.attributes("id"))


def test_the_beginning_is_open_and_four_parts_are_closed(whole):
    _, page, parts = whole
    assert parts[0].title == "Answer"
    assert [given for tag, given, _ in page.found if tag == "details"] == [{}] * 4
    assert len(page.texts("summary")) == 4


def test_every_table_has_a_caption_scopes_and_a_scroll_box(whole):
    _, page, parts = whole
    shown = [block for part in parts for block in part.blocks if isinstance(block, Table)]
    assert page.texts("caption") == [table.title for table in shown]
    columns = sum(len(table.headings) for table in shown)
    rows = sum(len(table.rows) for table in shown)
    assert page.attributes("scope").count("col") == columns
    assert page.attributes("scope").count("row") == rows
    assert page.attributes("role").count("region") == len(shown)
    assert set(page.attributes("aria-labelledby")) <= set(page.attributes("id"))


def test_every_cell_is_there(whole):
    _, page, parts = whole
    shown = [block for part in parts for block in part.blocks if isinstance(block, Table)]
    cells = [cell for table in shown for row in table.texts for cell in row[1:]]
    assert page.texts("td") == [cell.strip() for cell in cells]


def test_pictures_stand_inline_with_their_captions(whole):
    text, page, _ = whole
    for picture in pictures():
        assert svg(picture) in text
        assert any(picture.caption in caption for caption in page.texts("figcaption"))


def test_ids_are_unique(whole):
    ids = whole[1].attributes("id")
    assert len(set(ids)) == len(ids)


def test_nothing_is_loaded_and_only_our_script_runs(whole):
    text, page, _ = whole
    assert all(link.startswith("#") for link in page.attributes("href"))
    assert not page.attributes("src")
    assert not {"link", "iframe", "img", "object"} & {tag for tag, _, _ in page.found}
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    allowed = f"style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    assert policy == f"default-src 'none'; {allowed}"
    assert not re.search(r"@import|url\(", text)


def test_tables_and_figures_link_to_the_files_beside_the_page():
    parts = sections(analyse(whole_study()), pictures(["forest"]))
    beside = {"tables/seeds.csv", "tables/seeds.tex", "tables/tuning.tex", "figures/forest.pdf"}
    page = Page(html.render("t", parts, svg, beside))
    linked = [link for link in page.attributes("href") if not link.startswith("#")]
    assert sorted(linked) == sorted(beside)
    assert page.texts("a").count("LaTeX") == 2


@pytest.mark.parametrize("record", [whole_study(), repeated_study()])
def test_rows_carry_the_name_of_their_method(record):
    page = Page(html.render("t", sections(analyse(record)), svg))
    rows = [given for tag, given, _ in page.found if tag == "tr" and "data-method" in given]
    assert {given["data-method"] for given in rows} == set(NAMES)


def test_names_are_text():
    text, parts = page_of(hostile_study(), pictures())
    page = Page(text)
    plain, _ = page_of(whole_study(), pictures())
    known = {tag for tag, _, _ in Page(plain).found}
    assert {tag for tag, _, _ in page.found} <= known
    assert not [given for _, given, _ in page.found if any(k.startswith("on") for k in given)]
    assert page.texts("h1") == [" ".join(HOSTILE[0].split())]
    shown = [block for part in parts for block in part.blocks if isinstance(block, Table)]
    methods = next(table for table in shown if table.name == "methods")
    assert {row[0] for row in methods.texts} == {f"{HOSTILE[0]} (reference)", *HOSTILE[1:]}
    for row in methods.texts:
        assert row[0].strip() in page.texts("th")


def test_long_names_may_break_at_their_joints_and_numbers_may_not():
    rows = (("ewc_online", "-0.01 to 0.02", "a_b", "a/b " * 9),)
    text = html.render("t", [Section("s", (table("mxyz", rows, "x"),))], svg)
    assert ">ewc_<wbr>online<" in text
    assert ">-0.01 to 0.02<" in text
    assert ">a_b<" in text
    assert ">a/<wbr>b " in text


def test_columns_of_numbers_and_of_text():
    rows = (("a", "0.1", "x" * 30, "y" * 50, "z"), ("b", None, "x", "y", None))
    text = html.render("t", [Section("s", (table("mnxyz", rows, "n"),))], svg)
    kinds = re.findall(r'<th scope="col" class="(\w+)"', text)
    assert kinds == ["short", "number", "text", "long", "short"]


def test_a_column_is_marked_whose_lowest_number_is_the_best(whole):
    text = whole[0]
    marked = re.findall(r'<th scope="col" class="number lower(?: wide)?">(.*?)</th>', text)
    names = {re.sub(r"<.*?>", "", name) for name in marked}
    assert {"forgetting (%)", "bytes held", "adjusted p"} <= names
    assert not any("accuracy" in name for name in names)


def test_equal_titles_have_anchors_of_their_own():
    text = html.render("t", [Section("A b", ()), Section("A-b", ()), Section("?", ())], svg)
    assert re.findall(r'<h2 id="([^"]+)"', text) == ["a-b", "a-b--2", "section"]


def test_a_table_without_rows_still_stands():
    text = html.render("t", [Section("s", (table("mn"),))], svg)
    assert Page(text).texts("caption") == ["Title"]


def test_no_p_is_zero_and_no_verdict_is_weight_alone(whole):
    text, page, _ = whole
    assert not re.search(r"[pq] (= )?0\.000", text)
    assert not {"b", "strong", "em"} & {tag for tag, _, _ in page.found}
    assert "worse by more than the margin" in " ".join(page.texts("td"))


def test_dark_and_print_are_kept_apart(whole):
    text = whole[0]
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text

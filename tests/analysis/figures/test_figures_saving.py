"""Files and inline SVG: the same bytes every time, safe in a page, no global state."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import figures_factory as factory
import matplotlib
import pytest
from figures_factory import svg

from analysis.figures import inline, pictures, save
from analysis.one_study.analyse import analyse

pytestmark = pytest.mark.filterwarnings("error")


def saved(picture, folder):
    """The bytes of the files that a picture is saved as, by their endings."""
    save(picture, folder)
    return {path.suffix: path.read_bytes() for path in folder.glob(f"{picture.name}.*")}


def all_pictures(**fields):
    return pictures(analyse(factory.study(**{"objectives": 2, **fields})))


def local(tag):
    return tag.rpartition("}")[2]


def test_three_files_of_each_picture(tmp_path):
    for picture in all_pictures(methods=2):
        files = saved(picture, tmp_path / "new" / "figures")
        starts = {suffix: content[:5] for suffix, content in files.items()}
        assert starts == {".svg": b"<?xml", ".png": b"\x89PNG\r", ".pdf": b"%PDF-"}


def test_the_same_picture_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # a date in the files would be this one
    first = [saved(picture, tmp_path / "a") for picture in all_pictures(methods=2)]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    second = [saved(picture, tmp_path / "b") for picture in all_pictures(methods=2)]
    assert first == second


def test_names_with_metacharacters_stand_in_the_svg(tmp_path):
    for picture in all_pictures(names=list(factory.ODD))[:5]:
        text = saved(picture, tmp_path)[".svg"].decode()
        words = [e.text for e in ElementTree.fromstring(text).iter() if local(e.tag) == "text"]
        assert not any(w and "mathdefault" in w for w in words)
        if picture.name == "forest":
            assert "_under %#~" in words
            assert "日本 ✓ 🙂" in words


def test_text_stays_text_and_lines_stay_lines():
    for picture in all_pictures(methods=9, tasks=10):
        root = ElementTree.fromstring(svg(picture))
        tags = {local(element.tag) for element in root.iter()}
        assert "text" in tags
        assert "image" not in tags


def test_svg_is_a_scaling_titled_image():
    for picture in all_pictures(methods=2):
        text = svg(picture)
        assert text.startswith("<svg")
        assert "<!DOCTYPE" not in text
        root = ElementTree.fromstring(text)
        assert root.get("role") == "img"
        assert (root.get("width"), root.get("height")) == ("100%", None)
        assert re.fullmatch(r"0 0 [\d.]+ [\d.]+", root.get("viewBox"))
        title = root[0]
        assert (local(title.tag), title.text) == ("title", picture.title)
        assert root.get("aria-labelledby") == title.get("id")


def test_svg_takes_the_colour_of_the_page():
    for picture in all_pictures(methods=3):
        text = svg(picture)
        root = ElementTree.fromstring(text)
        assert root.get("fill") == "currentColor"
        assert "currentColor" in text
        assert "#000000" not in text
        assert "fill: #ffffff" not in text
        assert "<style" not in text


def test_several_svgs_share_no_ids():
    seen: set[str] = set()
    for picture in all_pictures():
        root = ElementTree.fromstring(svg(picture))
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        assert all(i.startswith(f"{picture.name}-") for i in ids)
        used = re.findall(r"url\(#([^)]*)\)", svg(picture))
        used += [e.get("href")[1:] for e in root.iter() if e.get("href")]
        assert used
        assert set(used) <= set(ids)
        seen |= set(ids)


def test_a_saved_file_can_stand_in_a_page(tmp_path):
    picture = all_pictures(methods=2)[0]
    assert inline(saved(picture, tmp_path)[".svg"].decode(), picture) == svg(picture)


def test_a_title_with_metacharacters_is_escaped():
    picture = all_pictures(methods=2)[0]
    odd = type(picture)("a b<c", '<script>"&', "", picture.draw)
    root = ElementTree.fromstring(svg(odd))
    assert root[0].text == '<script>"&'
    assert root.get("aria-labelledby") == "a-b-c-title"


def test_no_global_state(tmp_path):
    before = dict(matplotlib.rcParams)
    for picture in all_pictures(methods=2):
        save(picture, tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_the_users_settings_do_not_matter():
    picture = all_pictures(methods=2)[1]
    expected = svg(picture)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "text.parse_math": True}):
        assert svg(picture) == expected


def test_pyplot_is_never_imported():
    code = (
        "import sys; sys.path.insert(0, 'tests/analysis'); import figures_factory as f;"
        "from analysis.one_study.analyse import analyse;"
        "from analysis.figures import pictures;"
        "[f.svg(p) for p in pictures(analyse(f.study(methods=2)))];"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code]).returncode == 0

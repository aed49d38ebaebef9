"""The conformance suite in the hands of a plug-in's author, as docs/extending.md has it."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainables import learner

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "extending.md"
KEEPING = 'self.keep("anchor", kind="auxiliary")'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def conform(tmp_path):
    """Install a package as the guide says; run its tests."""

    def conform(method: str, *words: str) -> subprocess.CompletedProcess[str]:
        [space] = [block for block in blocks("python") if "SPACE = {" in block]
        [tests] = [block for block in blocks("python") if "LearnerConformance" in block]
        [points] = [block for block in blocks("toml") if "study.learners" in block]
        (tmp_path / "my_package.py").write_text(f"{method}\n{space}")
        (tmp_path / "test_my_learner.py").write_text(tests)
        info = tmp_path / "my_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
        groups = re.sub(r'\[project.entry-points."(.*)"\]', r"[\1]", points).replace('"', "")
        (info / "entry_points.txt").write_text(groups)
        path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
        pytest_words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        place = ["--rootdir", str(tmp_path), "-W", "error", str(tmp_path)]
        return subprocess.run(
            [sys.executable, *pytest_words, *place, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )

    return conform


@pytest.fixture
def method() -> str:
    """The learner of the guide."""
    [method] = [block for block in blocks("python") if "class MyLearner(" in block]
    return method


def test_the_guide_and_the_help_have_the_same_learner(method):
    examples = doctest.DocTestParser().get_examples(learner.Learner.__doc__ or "")
    example = "".join(each.source for each in examples)
    renamed = example.replace("Anchored", "MyLearner").replace('"anchored"', '"mine"')
    assert renamed.split() == method[method.index("class") :].split()


def test_the_learner_of_the_documentation_conforms(conform, method):
    done = conform(method)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d\d passed", done.stdout, re.MULTILINE)


def test_a_learner_that_forgets_to_keep_something_is_found(conform, method):
    assert KEEPING in method
    done = conform(method.replace(KEEPING, "pass"), "-k", "resume and class")
    assert done.returncode == 1
    assert re.search(r"\d failed", done.stdout)
    assert "error" not in done.stdout.splitlines()[-1]

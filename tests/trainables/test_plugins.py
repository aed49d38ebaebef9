"""Plug-ins of other packages: used when they are right, refused with a sentence when not."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import subprocess
import sys

import pytest
from optuna.distributions import FloatDistribution

from search_spaces import SPACES, find_space, space_on
from study import doctor
from trainables import LEARNERS, InputError, find_learner, plugged, plugins
from trainables.streams import StreamInfo

CODE = """
from optuna.distributions import CategoricalDistribution, FloatDistribution
from trainables.methods.finetune import Finetune

class Mine(Finetune):
    name = "mine"
    reference = "me, 2026"

class Unsourced(Mine):
    reference = None

class Misnamed(Mine):
    scenarios = ("class_incremental",)

class Alien:
    name = "mine"

SPACE = {"lr": FloatDistribution(0.25, 0.5)}

def space(stream):
    return SPACE if stream.scenario == "class" else {}

def define_by_run(trial, stream):
    return {"lr": trial.suggest_float("lr", 0.25, 0.5)}

def values(stream):
    return {"lr": 0.5}

def lists(stream):
    return {"hidden": CategoricalDistribution(((8,), (16,)))}

nothing = None
"""


def learners():
    """Every learner by name, built-in or plugged in, and what is said of the unusable ones."""
    found, unusable = plugged("study.learners", find_learner)
    return dict(LEARNERS) | found, unusable


STREAM = StreamInfo("split_digits", "class", 64, 10, 1 / 16, 5)
numbers = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with entry points, {group: {name: object}}, and return its module."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(points, code=CODE, package="acme"):
        module = f"a_plug_in_of_the_tests_{next(numbers)}"  # imported once, so never the same
        (tmp_path / f"{module}.py").write_text(code)
        lines = []
        for group, names in points.items():
            lines += [f"[study.{group}]", *(f"{k} = {module}:{v}" for k, v in names.items())]
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("\n".join(lines))
        plugins.cache_clear()
        return module

    install.folder = tmp_path
    yield install
    plugins.cache_clear()


@pytest.mark.parametrize("space", ["SPACE", "space"])
def test_a_plug_in_is_found_listed_and_searched(space, install):
    module = install({"learners": {"mine": "Mine"}, "search_spaces": {"mine": space}})
    assert find_learner("mine").__module__ == module
    assert space_on("mine", STREAM) == {"lr": FloatDistribution(0.25, 0.5)}
    found, unusable = learners()
    assert (list(found), unusable) == ([*LEARNERS, "mine"], [])


def test_a_plug_in_without_a_space_is_not_tuned(install):
    install({"learners": {"mine": "Mine"}})
    assert space_on("mine", STREAM) == {}


def test_the_nearest_name_may_be_a_plug_ins_and_none_is_imported(install):
    module = install({"learners": {"mine": "Mine"}})
    with pytest.raises(InputError, match=r"Did you mean 'mine'\?.*ewc.*mine"):
        find_learner("mime")
    assert find_learner("replay") is LEARNERS["replay"]
    assert module not in sys.modules


BROKEN = {
    "import no_such_package": "ModuleNotFoundError: No module named 'no_such_package'",
    "1 / 0": "ZeroDivisionError: division by zero",
    "a = = b": "SyntaxError",
    "raise RuntimeError('one\\ntwo')": "RuntimeError: one two",
    "raise SystemExit('not on this machine')": "SystemExit: not on this machine",
    "": "has no attribute 'Mine'",
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_plug_in_is_named_with_its_package_and_cause(code, install):
    install({"learners": {"mine": "Mine"}, "search_spaces": {"mine": "Mine"}}, code)
    for find in (find_learner, find_space):
        with pytest.raises(InputError) as caught:
            find("mine")
        for part in ("'mine = ", "acme 1.2", BROKEN[code], "uninstall"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["No", "Alien", "Unsourced"])
def test_an_unusable_plug_in_is_told_and_the_others_are_listed(value, install):
    install({"learners": {"broken": value, "replay": "Mine"}}, package="rotten")
    install({"learners": {"mine": "Mine"}})
    found, unusable = learners()
    assert {name: kind for name, kind in found.items() if name != "mine"} == LEARNERS
    assert found["mine"].name == "mine"
    for said, name in zip(unusable, ("broken", "replay"), strict=True):
        assert said.startswith(f"the plug-in '{name} = ")
        assert "rotten 1.2 cannot be used: " in said
    assert found["replay"] is LEARNERS["replay"]


def test_what_a_plug_in_prints_is_no_result(install, capsys):
    install({"learners": {"mine": "Mine"}}, f"print('welcome to acme')\n{CODE}")
    find_learner("mine")
    assert capsys.readouterr() == ("", "welcome to acme\n")


def test_a_broken_plug_in_does_not_stop_ours_nor_another(install):
    install({"learners": {"broken": "No"}, "search_spaces": {"broken": "No"}}, "1 / 0", "rotten")
    install({"learners": {"mine": "Mine"}})
    assert {name: find_learner(name) for name in LEARNERS} == LEARNERS
    assert {name: find_space(name) for name in SPACES} == SPACES
    assert find_learner("mine").name == "mine"


WRONG = {
    "Alien": "is not a subclass of trainables.Learner",
    "space": "is not a subclass of trainables.Learner",
    "nothing": "None is not a subclass of trainables.Learner",
    "Unsourced": "Unsourced.reference is not a string",
    "Misnamed": "Misnamed.scenarios: unknown scenario 'class_incremental'",
}


@pytest.mark.parametrize("value", WRONG)
def test_a_plug_in_that_is_no_learner_is_refused(value, install):
    install({"learners": {"mine": value}})
    with pytest.raises(InputError, match=f"acme 1.2 cannot be used: .*{WRONG[value]}"):
        find_learner("mine")


def test_a_learner_of_another_name_than_its_entry_point_is_refused(install):
    install({"learners": {"yours": "Mine"}})
    with pytest.raises(InputError, match=r"'yours = .* Mine\.name = 'mine' differs"):
        find_learner("yours")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("nothing", "None is not a search space. Give a dictionary from option to Optuna"),
        ("define_by_run", "takes other arguments than the stream. Give a dictionary from option"),
        ("Mine", "takes other arguments than the stream. Give a dictionary from option"),
        ("values", "lr = 0.5 is not a distribution. Give a dictionary from option to Optuna"),
        ("lists", "hidden has lists as choices. Use search_spaces.one_of"),
    ],
)
@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
def test_a_plug_in_that_is_no_space_is_refused_with_what_to_give(value, wanted, install):
    install({"search_spaces": {"mine": value}})
    with pytest.raises(InputError, match=r"acme 1\.2 cannot be used: ") as caught:
        space_on("mine", STREAM)
    assert wanted in str(caught.value)


FINDERS = {"learners": (find_learner, LEARNERS), "search_spaces": (find_space, SPACES)}


@pytest.mark.parametrize("group", FINDERS)
def test_a_plug_in_cannot_take_the_name_of_one_of_ours(group, install):
    find, ours = FINDERS[group]
    module = install({group: {"replay": "Mine"}})
    with pytest.raises(
        InputError, match=r"acme 1\.2 cannot be used: the name 'replay' is built in"
    ):
        find("replay")
    assert find("ewc") is ours["ewc"]
    assert module not in sys.modules


@pytest.mark.parametrize("group", FINDERS)
def test_two_plug_ins_cannot_share_a_name(group, install):
    find, _ = FINDERS[group]
    for package in ("acme", "ajax"):
        install({group: {"mine": "Mine"}}, package=package)
    with pytest.raises(InputError) as caught:
        find("mine")
    assert "acme 1.2" in str(caught.value)
    assert "ajax 1.2" in str(caught.value)


# -- doctor


@pytest.fixture
def examine(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_ray", lambda address: "not looked at")

    def examine(root=tmp_path):
        rows, healthy = doctor.examine(root, "local")
        return dict(rows), healthy

    return examine


def test_the_doctor_finds_a_broken_plug_in_among_the_good(install, examine):
    install({"learners": {"mine": "Mine"}, "search_spaces": {"mine": "space"}})
    rows, healthy = examine()
    assert healthy
    assert rows["plug-in mine (study.learners)"] == "can be used"
    install({"learners": {"broken": "No"}, "search_spaces": {"broken": "No"}}, "1 / 0", "rotten")
    rows, healthy = examine()
    assert not healthy
    assert rows["plug-in mine (study.search_spaces)"] == "can be used"
    for group in ("learners", "search_spaces"):
        found = rows[f"plug-in broken (study.{group})"]
        assert found.startswith("FAILS: ")
        assert "rotten 1.2" in found


def test_the_doctor_says_which_package_is_missing(examine, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    rows, healthy = examine()
    assert not healthy
    assert rows["torch"] == importlib.metadata.version("torch")
    assert rows["no-such-package"].startswith("FAILS: ")


@pytest.mark.parametrize(
    ("uri", "why"),
    [("http://me:secret@127.0.0.1:9", "Connection refused"), ("foo://me:secret@far", "is unknown")],
)
def test_the_doctor_looks_where_mlflows_own_variable_says(uri, why, examine, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    rows, healthy = examine()
    assert not healthy
    found = rows[f"MLflow at {uri.replace('secret', '***')}"]
    assert found.startswith("FAILS: ")
    assert why in found
    assert "secret" not in found


def test_the_doctor_says_that_a_data_root_is_a_file(examine, tmp_path):
    (tmp_path / "file").touch()
    rows, healthy = examine(tmp_path / "file")
    assert not healthy
    assert "Not a directory" in rows["data root"]


# -- the command line


def methods(folder):
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, "-m", "study", "methods", "--json"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_methods_lists_plug_ins_and_says_which_it_cannot_and_why(install):
    install({"learners": {"mine": "Mine"}, "search_spaces": {"mine": "space"}})
    found = methods(install.folder)
    assert (found.returncode, found.stderr) == (0, "")
    mine = json.loads(found.stdout)["mine"]
    assert mine["source"] == "me, 2026"
    assert mine["space"] == {"lr": {"kind": "float", "low": 0.25, "high": 0.5, "log": False}}
    install({"learners": {"broken": "No"}}, "import no_such_package", "rotten")
    found = methods(install.folder)
    assert found.returncode == 0
    assert list(json.loads(found.stdout)) == [*LEARNERS, "mine"]
    assert found.stderr.startswith("the plug-in 'broken = ")
    assert "rotten 1.2" in found.stderr
    assert "no_such_package" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_methods_says_whose_search_space_cannot_be_listed_and_why(install):
    install({"learners": {"mine": "Mine"}, "search_spaces": {"mine": "define_by_run"}})
    found = methods(install.folder)
    assert found.returncode == 0
    assert json.loads(found.stdout)["mine"]["space"] is None
    assert found.stderr.startswith("the plug-in 'mine = ")
    assert "Give a dictionary from option to Optuna distribution" in found.stderr
    assert len(found.stderr.splitlines()) == 1

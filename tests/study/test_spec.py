"""Study files: every key, defaults, overrides, and what bad input is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from factory import make_spec

from study import check
from study.spec import Range, Request, SeedRange, Spec, expand, first_sentence, presets, read
from trainables.errors import InputError

WHOLE = """
[study]
name = "digits-2"
stream = "split_digits"
scenario = "task"
metric = "forgetting"
reference = "replay"
comparisons = [["ewc", "replay"], ["ewc_online", "ewc"]]
margin = 0.02
alpha = 0.1
failed = "worst"
number = "fraction"

[stream]
class_order = "shuffled"

[methods]
finetune = {}
replay = { fixed = { memory_per_task = 20 }, space = { lr = { low = 1e-4, high = 1e-2, log = true } } }
ewc_online = { learner = "ewc", fixed = { online = true } }

[methods.ewc.space]
gamma = { choices = [0.5, 1] }

[tune]
trials = 7
seeds = [0, 3]
sampler = "nsga2"
pruner = "none"
protocol = "first_tasks"
tasks = 3
objectives = ["forgetting", "memory_bytes"]
require = { learning_accuracy = 0.8 }
seed = 11
repeats = 2

[confirm]
seeds = { first = 100, count = 3 }
evaluate_every = 50
top = 3

[resources]
address = "auto"
cpus_per_trial = 0.5
gpus_per_trial = 0.25
seeds_per_stack = 4

[published]
replay = { forgetting = { mean = 0.9, sd = 0.1, n = 5 } }
"""  # noqa: E501

SMALLEST = """
[study]
name = "digits"
stream = "split_digits"
reference = "replay"

[methods]
replay = {}
"""


@pytest.fixture
def write(tmp_path):
    def save(text: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return save


def test_every_key_is_read(write):
    spec, source = read(write(WHOLE))
    assert source.endswith("own.toml")
    assert spec.study.model_dump() == {
        "name": "digits-2",
        "stream": "split_digits",
        "scenario": "task",
        "metric": "forgetting",
        "reference": "replay",
        "comparisons": [["ewc", "replay"], ["ewc_online", "ewc"]],
        "margin": 0.02,
        "alpha": 0.1,
        "failed": "worst",
        "number": "fraction",
    }
    assert spec.stream == {"class_order": "shuffled"}
    assert list(spec.methods) == ["finetune", "replay", "ewc_online", "ewc"]
    assert spec.methods["replay"].fixed == {"memory_per_task": 20}
    assert spec.methods["replay"].space == {"lr": Range(low=1e-4, high=1e-2, log=True)}
    assert spec.methods["ewc"].space["gamma"].choices == [0.5, 1]
    assert spec.learner_of("ewc_online") == "ewc"
    assert spec.learner_of("finetune") == "finetune"
    assert spec.tune.model_dump() == {
        "trials": 7,
        "seeds": [0, 3],
        "sampler": "nsga2",
        "pruner": "none",
        "racing": False,
        "protocol": "first_tasks",
        "tasks": 3,
        "stream": None,
        "objectives": ["forgetting", "memory_bytes"],
        "require": {"learning_accuracy": 0.8},
        "seed": 11,
        "repeats": 2,
    }
    assert spec.objectives == ["forgetting", "memory_bytes"]
    assert (spec.tune_seeds, spec.confirm_seeds) == ((0, 3), (100, 101, 102))
    assert (spec.confirm.evaluate_every, spec.confirm.top) == (50, 3)
    assert spec.resources.model_dump() == {
        "address": "auto",
        "cpus_per_trial": 0.5,
        "gpus_per_trial": 0.25,
        "seeds_per_stack": 4,
        "task_minutes": None,
    }
    (figure,) = spec.published["replay"]["forgetting"]
    assert (figure.mean, figure.sd, figure.n, figure.readout) == (0.9, 0.1, 5, None)


def test_the_whole_file_resolves(write):
    spec, source = read(write(WHOLE))
    assert list(check.resolve(spec, source).of_sweep(0)) == list(spec.methods)


def test_what_is_left_out_takes_the_documented_defaults(write):
    spec, _ = read(write(SMALLEST))
    assert (spec.study.scenario, spec.study.metric) == ("class", "average_accuracy")
    assert (spec.study.margin, spec.study.alpha, spec.study.failed) == (0.005, 0.05, "error")
    assert (spec.tune.trials, spec.tune_seeds, spec.tune.sampler) == (12, (0, 1, 2), "tpe")
    assert (spec.tune.pruner, spec.tune.protocol) == ("none", "end_of_stream")
    assert spec.confirm_seeds == tuple(range(100, 110))
    assert spec.objectives == ["average_accuracy"]
    assert (spec.resources.address, spec.resources.seeds_per_stack) == ("local", "auto")
    assert (spec.resources.cpus_per_trial, spec.resources.gpus_per_trial) == (1, 0)


def test_the_primary_metric_is_the_objective_unless_objectives_are_given(write):
    assert read(write(SMALLEST), ["study.metric=forgetting"])[0].objectives == ["forgetting"]


def test_a_study_is_the_same_after_it_was_written_plainly(write):
    spec, _ = read(write(WHOLE))
    assert Spec.parse(spec.plain(), "again") == spec


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_parse_and_resolve(name):
    spec, source = read(name)
    assert source == f"preset {name}"
    assert spec.study.name == name
    assert spec.study.reference in check.resolve(spec, source).methods


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_open_with_a_line_that_says_what_they_are(name):
    first = presets()[name].splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize(
    ("head", "first"),
    [
        ("# All of it.\n[study]", "All of it."),
        ("# Goes on in\n# the next line. Takes an hour.\n# Or two.", "Goes on in the next line."),
        ("# Hsu et al. (2018), v. 2, at 0.5: so. Next", "Hsu et al. (2018), v. 2, at 0.5: so."),
        ("# No stop\n\n# Another comment.", "No stop"),
        ("[study]\n# Not at the head.", ""),
    ],
)
def test_a_study_file_is_introduced_by_its_first_sentence(head, first):
    assert first_sentence(head) == first


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_say_what_they_are_in_a_whole_sentence(name):
    assert first_sentence(presets()[name]).endswith(".")


def test_the_embedded_default_is_a_preset():
    assert "digits" in presets()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([3, 1, 2], (3, 1, 2)),
        ([], ()),
        (SeedRange(first=5, count=3), (5, 6, 7)),
        (SeedRange(first=5, count=0), ()),
    ],
)
def test_seeds_are_a_list_or_a_range(given, meant):
    assert expand(given) == meant


def test_overrides_set_any_key(write):
    spec, _ = read(
        write(SMALLEST),
        [
            "tune.trials=3",
            "study.scenario=task",
            'study.name = "other"',
            "tune.seeds=[7, 8]",
            "confirm.seeds={ first = 50, count = 2 }",
            "methods.replay.fixed.lr=0.5",
            "methods.replay.space.replay_ratio.low=0.5",
            "methods.finetune={}",
            "resources.address=host:6379",
        ],
    )
    assert spec.tune.trials == 3
    assert (spec.study.scenario, spec.study.name) == ("task", "other")
    assert spec.tune_seeds == (7, 8)
    assert spec.confirm_seeds == (50, 51)
    assert spec.methods["replay"].fixed == {"lr": 0.5}
    assert spec.methods["replay"].space["replay_ratio"].low == 0.5
    assert list(spec.methods) == ["replay", "finetune"]
    assert spec.resources.address == "host:6379"


def test_the_last_of_two_overrides_wins(write):
    spec, _ = read(write(SMALLEST), ["tune.trials=3", "tune.trials=5"])
    assert spec.tune.trials == 5


def test_an_override_may_hold_an_equals_sign(write):
    figure = "published.replay.forgetting"
    spec, _ = read(write(SMALLEST), [f"{figure}.mean=0.5", f"{figure}.source=a=b"])
    assert spec.published["replay"]["forgetting"][0].source == "a=b"


DOTTED = SMALLEST + '"my.method" = { learner = "replay" }\n'


def test_a_name_with_a_dot_is_quoted_as_in_toml(write):
    for key in ('methods."my.method"', "methods.'my.method'", ' "methods" . "my.method" '):
        spec, _ = read(write(DOTTED), [f"{key}.fixed.lr=0.5"])
        assert spec.methods["my.method"].fixed == {"lr": 0.5}
        assert list(spec.methods) == ["replay", "my.method"]


@pytest.mark.parametrize("key", ["methods.my.method", "methods.my.method.fixed.lr"])
def test_a_name_with_a_dot_that_is_not_quoted_is_told(write, key):
    with pytest.raises(InputError, match=r'the dot in my\.method .*Quote the name, "my\.method"'):
        read(write(DOTTED), [f"{key}=0.5"])


def test_errors_name_a_key_as_it_is_given(write):
    with pytest.raises(InputError, match=r'methods\."my\.method": unknown key \'fixd\''):
        read(write(DOTTED), ['methods."my.method".fixd.lr=0.5'])


def test_nothing_after_a_newline_is_dropped(write):
    spec, _ = read(
        write(SMALLEST),
        ["tune.seeds=[7,\n8]\n", 'published.replay.forgetting={mean=0.5,source="""a\nb"""}'],
    )
    assert spec.tune_seeds == (7, 8)
    assert spec.published["replay"]["forgetting"][0].source == "a\nb"
    spec, _ = read(
        write(SMALLEST),
        ["published.replay.forgetting.mean=1", "published.replay.forgetting.source=two\nlines"],
    )
    assert spec.published["replay"]["forgetting"][0].source == "two\nlines"
    for more in ("tune.seed=3", "[confirm]\nevaluate_every=5"):
        with pytest.raises(InputError, match="give one key"):
            read(write(SMALLEST), [f"tune.trials=3\n{more}"])


def test_overrides_reach_presets_too():
    assert read("digits", ["tune.trials=1"])[0].tune.trials == 1


# what is added to, or replaced in, the smallest file; what the message has to name
BAD = {
    "unknown table": ("", "[tun]", ["'tun'", "Did you mean 'tune'?", "confirm, methods"]),
    "a comparison of one": (
        "",
        '[study]\ncomparisons = [["ewc"]]',
        ["study.comparisons", '["ewc"]', "at least 2 items"],
    ),
    "unknown study key": ("", "[study]\nmetrc = 1", ["study", "'metrc'", "'metric'", "reference"]),
    "unknown tune key": ("", "[tune]\ntrails = 1", ["tune", "'trails'", "'trials'", "sampler"]),
    "unknown confirm key": ("", "[confirm]\nseds = 1", ["confirm", "'seeds'", "evaluate_every"]),
    "unknown resource": ("", "[resources]\nadress = 'x'", ["resources", "'address'", "gpus"]),
    "unknown method key": ("replay = { fixd = {} }", "", ["methods.replay", "'fixed'", "space"]),
    "unknown range key": (
        "replay = { space = { lr = { hgh = 1 } } }",
        "",
        ["methods.replay.space.lr", "'hgh'", "'high'", "choices"],
    ),
    "unknown seed key": (
        "",
        "[tune]\nseeds = { first = 0, conut = 3 }",
        ["tune.seeds", "'conut'", "Did you mean 'count'?"],
    ),
    "seed range without count": ("", "[tune]\nseeds = { first = 0 }", ["tune.seeds", "give count"]),
    "negative first seed": (
        "",
        "[tune]\nseeds = { first = -1, count = 2 }",
        ["tune.seeds.first", "-1", "greater than or equal to 0"],
    ),
    "negative seed": ("", "[tune]\nseeds = [-1]", ["tune.seeds", "-1", "0"]),
    "word for seeds": ("", "[tune]\nseeds = 'x'", ["tune.seeds", '"x"', "list"]),
    "word for a number": ("", "[tune]\ntrials = 'x'", ["tune.trials", '"x"', "integer"]),
    "fraction of a trial": ("", "[tune]\ntrials = 1.5", ["tune.trials", "1.5", "integer"]),
    "true for a number": ("", "[tune]\ntrials = true", ["tune.trials", "true", "integer"]),
    "negative trials": ("", "[tune]\ntrials = -1", ["tune.trials", "-1", "0"]),
    "number for a table": ("replay = 3", "", ["methods.replay", "3"]),
    "misspelt sampler": (
        "",
        "[tune]\nsampler = 'tpee'",
        ["tune.sampler", "tpee", "random", "gp", "nsga2", "Did you mean 'tpe'?"],
    ),
    "misspelt protocol": (
        "",
        "[tune]\nprotocol = 'first_task'",
        ["tune.protocol", "end_of_stream", "Did you mean 'first_tasks'?"],
    ),
    "misspelt pruner": ("", "[tune]\npruner = 'ahsa'", ["tune.pruner", "none", "'asha'"]),
    "misspelt rule": ("", "[study]\nfailed = 'eror'", ["study.failed", "'error'", "worst"]),
    "word for a stack": (
        "",
        "[resources]\nseeds_per_stack = 'aut'",
        ["resources.seeds_per_stack", "aut", "'auto'", "integer"],
    ),
    "no seed in a stack": (
        "",
        "[resources]\nseeds_per_stack = 0",
        ["resources.seeds_per_stack", "0", "1"],
    ),
    "no processor": ("", "[resources]\ncpus_per_trial = 0", ["resources.cpus_per_trial", "than 0"]),
    "negative margin": ("", "[study]\nmargin = -0.1", ["study.margin", "-0.1", "0"]),
    "margin without a value": ("", "[study]\nmargin = nan", ["study.margin"]),
    "endless margin": ("", "[study]\nmargin = inf", ["study.margin"]),
    "alpha of one": ("", "[study]\nalpha = 1.0", ["study.alpha", "1"]),
    "bad slug": ("", "[study]\nname = 'a b'", ["study.name", "a b"]),
    "a path for a slug": ("", "[study]\nname = '../other'", ["study.name", "../other"]),
    "bad method name": ("'a/b' = { learner = 'replay' }", "", ["methods", "a/b"]),
    "list of words in choices": (
        "replay = { space = { hidden = { choices = [['a']] } } }",
        "",
        ["methods.replay.space.hidden.choices.0", '"a"', "integer"],
    ),
    "table in choices": (
        "replay = { space = { lr = { choices = [1, { a = 1 }] } } }",
        "",
        ["methods.replay.space.lr.choices.1 = ", '{"a": 1}'],
    ),
    "word for choices": (
        "replay = { space = { lr = { choices = 'x' } } }",
        "",
        ["methods.replay.space.lr.choices = ", '"x"', "list"],
    ),
    "seed too large": (
        "",
        "[tune]\nseeds = [1, 9223372036854775808]",
        ["tune.seeds.1 = 9223372036854775808", "less than 9223372036854775808"],
    ),
    "first seed too large": (
        "",
        "[confirm]\nseeds = { first = 9223372036854775808, count = 2 }",
        ["confirm.seeds.first = 9223372036854775808", "less than"],
    ),
    "too many seeds": (
        "",
        "[confirm]\nseeds = { first = 0, count = 9223372036854775808 }",
        ["confirm.seeds.count = 9223372036854775808", "less than"],
    ),
    "fraction of a seed": ("", "[tune]\nseeds = [0, 1.5]", ["tune.seeds.1 = 1.5", "integer"]),
    "word for a seed": ("", "[tune]\nseeds = [0, 'x']", ["tune.seeds.1 = ", '"x"', "integer"]),
    "method called like a type": ("int = { fixd = {} }", "", ["methods.int", "'fixd'"]),
}


# one more than is allowed
BAD |= {
    f"too large: {key} = {value[:30]}": (
        "",
        f"[{table}]\n{key} = {value}",
        [f"{table}.{key}", limit],
    )
    for table, key, value, limit in [
        ("study", "margin", "1", "less than 1"),
        ("tune", "trials", "100_001", "100000"),
        ("tune", "tasks", "10_001", "10000"),
        ("tune", "seed", "4294967296", "less than 4294967296"),
        ("tune", "seeds", "{ first = 0, count = 2147483647 }", "1000"),
        ("confirm", "seeds", "{ first = 0, count = 1_001 }", "1000"),
        ("confirm", "chosen_on", f"[{'7, ' * 1_001}]", "at most 1000"),
        ("confirm", "evaluate_every", "1_000_000_001", "1000000000"),
        ("resources", "cpus_per_trial", "1e5", "10000"),
        ("resources", "cpus_per_trial", "inf", "10000"),
        ("resources", "gpus_per_trial", "1001", "1000"),
        ("resources", "seeds_per_stack", "1_001", "1000"),
        ("published", "replay", "{ forgetting = { mean = 94.3 } }", "0.94 for 94 %"),
        ("published", "replay", "{ forgetting = { mean = 0.9, sd = 2 } }", "0.94 for 94 %"),
        ("published", "replay", "{ forgetting = { mean = 0.9, n = 1_000_001 } }", "1000000"),
    ]
}
# a text without its quotes
BAD |= {
    f"{given} for a text": (
        "",
        f"[study]\nname = {given}",
        ["study.name", f"{given}:", f'"{given}"'],
    )
    for given in ("2024", "1.5", "true", "2024-01-31")
}

# names that pydantic gives to what a value might have been
ALTERNATIVES = ("constrained", "list[", "literal[", "function-", "[int]", "instance of")


def altered(methods: str, rest: str) -> str:
    """The smallest file with other methods and further tables, each key once."""
    text = SMALLEST.replace("replay = {}", methods) if methods else SMALLEST
    if rest.startswith("[study]\n"):
        line = rest.removeprefix("[study]\n")
        key = line.split(" = ")[0]
        lines = [old for old in text.splitlines() if not old.startswith(f"{key} = ")]
        return "\n".join([*lines[:2], line, *lines[2:]])
    return f"{text}\n{rest}\n"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_file_key_and_what_is_allowed(case, write):
    methods, rest, wanted = BAD[case]
    with pytest.raises(InputError) as caught:
        read(write(altered(methods, rest)))
    message = str(caught.value)
    for part in ["own.toml", *wanted]:
        assert part in message
    assert len(message) < 500
    assert message.endswith(".")
    assert "\n" not in message
    for name in ALTERNATIVES:
        assert name not in message


@pytest.mark.parametrize("missing", ["name", "stream", "reference"])
def test_a_missing_key_is_named(write, missing):
    lines = [line for line in SMALLEST.splitlines() if not line.startswith(f"{missing} =")]
    with pytest.raises(InputError, match=rf"own\.toml.*study\.{missing}.*missing"):
        read(write("\n".join(lines)))


def test_a_study_needs_a_method(write):
    with pytest.raises(InputError, match=r"own\.toml.*methods.*at least one"):
        read(write(SMALLEST.replace("replay = {}", "")))
    with pytest.raises(InputError, match=r"own\.toml.*methods.*missing"):
        read(write(SMALLEST.replace("[methods]\nreplay = {}", "")))


def test_bad_toml_says_where(write):
    with pytest.raises(InputError, match=r"own\.toml is not valid TOML.*line 2"):
        read(write("[study]\nname =\n"))


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.toml.*No such file"):
        read("nowhere.toml")
    with pytest.raises(InputError, match="somewhere/else"):
        read("somewhere/else")


def test_a_folder_is_no_study_file(tmp_path: Path):
    with pytest.raises(InputError, match="directory"):
        read(str(tmp_path))


def test_a_misspelt_preset_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"'digts'.*Did you mean 'digits'\?.*split_mnist"):
        read("digts")


def test_a_file_in_another_encoding_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_bytes(SMALLEST.encode() + "# Größe\n".encode("latin-1"))
    line = SMALLEST.count("\n") + 1
    with pytest.raises(
        InputError, match=rf"own\.toml is not .* UTF-8.*: line {line} .*Save the file"
    ):
        read(str(path))


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_bytes(SMALLEST.strip().encode("utf-8-sig"))
    assert read(str(path))[0].study.name == "digits"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"own\.toml is not a text file"):
        read(str(path))


@pytest.mark.parametrize("override", ["tune.trials", "tune", "=3", " = 3"])
def test_an_override_without_key_or_value_is_answered_with_an_example(write, override):
    with pytest.raises(InputError, match=r"--set .*KEY=VALUE.*tune\.trials=4"):
        read(write(SMALLEST), [override])


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("tune.trails=3", ["own.toml", "tune", "'trails'", "Did you mean 'trials'?"]),
        ("tune.trials=many", ["own.toml", "tune.trials", "many", "integer"]),
        ("tune..trials=3", ["own.toml", "tune", "trials"]),
        ("study.name.x=3", ["study.name.x", "'name'", "not a table"]),
        ("tune.seeds=[1,", ["own.toml", "tune.seeds", "[1,"]),
        ("tune=3", ["own.toml", "tune", "3"]),
        ("methds.replay={}", ["own.toml", "'methds'", "Did you mean 'methods'?"]),
        ("#=3", ["own.toml", "'#' is not a key"]),
        ("[a]\n[b]\nc=3", ["own.toml", "is not a key"]),
        ('methods."replay=3', ["own.toml", "is not a key", "quote"]),
        (f"tune.trials={'9' * 5000}", ["own.toml", "tune.trials", "9 ...", "integer"]),
    ],
)
def test_a_wrong_override_names_its_key(write, override, wanted):
    with pytest.raises(InputError) as caught:
        read(write(SMALLEST), [override])
    for part in wanted:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["two words", "é", "-x", "x" * 65, "a/b"])
def test_a_name_that_is_none_is_refused_in_words(name):
    values = {"study": {"name": "s", "stream": "x", "reference": "x"}, "methods": {name: {}}}
    with pytest.raises(InputError) as caught:
        Spec.parse(values, "own.toml")
    assert (
        f"methods.{name}: '{name}' is not a valid name. A name consists of at most 64 letters"
        in str(caught.value)
    )
    assert "pattern" not in str(caught.value)


def test_a_method_has_the_resources_of_the_study_or_its_own():
    spec = make_spec(
        {
            "resources": {"cpus_per_trial": 2, "gpus_per_trial": 0.5},
            "methods.replay": {"resources": {"gpus": 1}},
        }
    )
    assert (spec.request("finetune"), spec.request("replay")) == (Request(2, 0.5), Request(2, 1))


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({"gpu": 1}, r"methods.replay.resources: .*Did you mean 'gpus'"),
        ({"cpus": 0}, r"methods.replay.resources.cpus = 0"),
        ({"gpus": 1.5}, r"methods.replay.resources.gpus = 1.5.*a share of one GPU, or whole ones"),
    ],
)
def test_resources_that_make_no_sense_are_refused(resources, wanted):
    with pytest.raises(InputError, match=wanted):
        make_spec({"methods.replay": {"resources": resources}})

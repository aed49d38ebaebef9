"""What a study file names is checked before anything runs."""

from __future__ import annotations

import math

import pytest
from factory import HELD_OUT, make_design, make_spec, make_sweep
from optuna.distributions import FloatDistribution, IntDistribution

from analysis.metrics import PRIMARY
from search_spaces import SPACES, one_of
from study import check
from study.design import PhaseStream, direction
from study.ledger import Ledger
from study.run.source import Room
from study.search import SweepSearch
from trainables import LEARNERS, find_learner
from trainables.errors import InputError
from trainables.streams import SCENARIOS

EPOCHS_TWICE = {"study.scenario": "task_free", "methods.replay": {"fixed": {"epochs": 2}}}


def resolve(changes=None):
    return check.resolve(make_spec(changes), "own.toml")


def assert_refused(changes, *wanted):
    """Check that a study is refused, and that the message opens with the file and names this."""
    with pytest.raises(InputError) as caught:
        resolve(changes)
    message = str(caught.value)
    assert message.startswith("own.toml: ")
    for part in wanted:
        assert part in message


def replay(**section):
    return {"methods.replay": section}


def lr_range(**given):
    return replay(space={"lr": given})


def test_a_method_is_its_learner_unless_it_names_one():
    variant = {"learner": "ewc", "fixed": {"online": True}}
    methods = resolve({"methods.ewc_online": variant}).methods
    assert methods["replay"].learner == "replay"
    assert methods["ewc_online"].learner == "ewc"
    assert methods["ewc_online"].defaults["online"] is True


def test_published_values_depend_on_the_scenario_and_yield_to_fixed_ones():
    for scenario, strength in (("task", 1e5), ("domain", 1e10), ("class", 1e9)):
        methods = resolve({"study.scenario": scenario, "methods.ewc": {}}).methods
        assert methods["ewc"].configuration({})["lam"] == strength
    fixed = resolve({"methods.ewc": {"fixed": {"lam": 3.0}}}).methods
    assert fixed["ewc"].configuration({})["lam"] == 3.0


def test_a_configuration_is_whole():
    method = resolve(replay(fixed={"lr": 0.5})).methods["replay"]
    whole = method.configuration({"replay_ratio": 2})
    assert set(whole) == set(find_learner("replay").Config.fields())
    assert (whole["lr"], whole["replay_ratio"], whole["hidden"]) == (0.5, 2.0, [100])


@pytest.mark.parametrize(
    ("stream", "learner", "hidden", "batch_size"),
    [
        ("split_digits", "ewc", [100], 16),  # what fits its 230 to 290 images a task
        ("split_mnist", "ewc", [400, 400], 128),  # as in the literature
        ("split_digits", "fssg", [128, 64, 128, 64], 64),  # the method's own values
    ],
)
def test_defaults_fit_the_stream_where_the_method_has_none_of_its_own(
    stream, learner, hidden, batch_size
):
    methods = resolve({"study.stream": stream, f"methods.{learner}": {}}).methods
    configuration = methods[learner].configuration({})
    assert (configuration["hidden"], configuration["batch_size"]) == (hidden, batch_size)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"study.stream": "split_digit"},
            ["stream", "Did you mean 'split_digits'?", "split_mnist"],
        ),
        (
            {"study.scenario": "clas"},
            ["study.scenario", "'clas'", "Did you mean 'class'?", *SCENARIOS],
        ),
        (
            {"study.metric": "forgeting"},
            ["study.metric", "'forgeting'", "Did you mean 'forgetting'?", *PRIMARY],
        ),
        (
            {"study.reference": "replai"},
            ["study.reference", "'replai'", "Did you mean 'replay'?", "finetune"],
        ),
        (
            {"tune.require": {"learning_acuracy": 0.8}},
            ["tune.require", "'learning_acuracy'", "Did you mean 'learning_accuracy'?"],
        ),
        (
            {"tune.require": {"learning_accuracy": 80.0}},
            ["tune.require.learning_accuracy = 80", "write 0.8 for 80 %"],
        ),
        (
            {"tune.require": {"forgetting": 0.2}, "tune.protocol": "first_tasks", "tune.tasks": 1},
            ["tune.require.forgetting", "at least two tasks"],
        ),
        (
            {"tune.require": {"learning_accuracy": 0.8}, "tune.pruner": "asha"},
            ["tune.pruner", "tune.require", "'none'"],
        ),
        (
            {"methods.joint": {}, "study.reference": "joint"},
            ["study.reference", "joint is an offline bound", "study.comparisons"],
        ),
        (
            {"study.comparisons": [["finetune", "replai"]]},
            ["study.comparisons", '["finetune", "replai"]', "Did you mean 'replay'?"],
        ),
        (
            {"study.comparisons": [["replay", "replay"]]},
            ["study.comparisons", '["replay", "replay"] compares a method with itself'],
        ),
        (
            {"study.comparisons": [["finetune", "replay"], ["replay", "finetune"]]},
            ["study.comparisons", '["finetune", "replay"] is listed twice'],
        ),
        (
            {"study.comparisons": [["finetune - replai", "replay - finetune"]]},
            ["study.comparisons", "Did you mean 'replay'?"],
        ),
        (
            {"study.comparisons": [["finetune - finetune", "replay - finetune"]]},
            ["study.comparisons", "subtracts a method from itself"],
        ),
        (
            {"study.comparisons": [["finetune - replay", "replay"]]},
            ["study.comparisons", '["finetune - replay", "replay"]', "two differences"],
        ),
        (
            {"study.comparisons": [["finetune - replay - finetune", "replay"]]},
            ["study.comparisons", "two differences"],
        ),
        (
            {"methods.own": {"learner": "finetun"}},
            ["methods.own", "'finetun'", "Did you mean 'finetune'?", *LEARNERS],
        ),
        ({"methods.replai": {}}, ["methods.replai", "Did you mean 'replay'?"]),
        ({"stream.class_ordr": "fixed"}, ["stream", "'class_ordr'", "'class_order'"]),
        ({"stream.class_order": "fixd"}, ["stream", "class_order", "'fixd'", "shuffled"]),
        (
            {"tune.objectives": ["average_accuracy", "memory_byte"]},
            ["tune.objectives", "'memory_byte'", "Did you mean 'memory_bytes'?"],
        ),
        (
            {"tune.objectives": ["memory_bytes"]},
            ["tune.objectives", "first", "'average_accuracy'"],
        ),
        (
            {"tune.objectives": ["average_accuracy", "energy"]},
            ["tune.objectives", "'energy' is not measured", "spiking_finetune, spiking_joint"],
        ),
    ],
)
def test_unknown_names_get_the_allowed_and_the_nearest_ones(changes, wanted):
    assert_refused(changes, *wanted)


@pytest.mark.parametrize("key", ["study.stream", "tune.stream"])
def test_an_unknown_stream_is_answered_with_its_key(key):
    protocol = {"tune.protocol": "held_out_stream"} if key == "tune.stream" else {}
    assert_refused({**protocol, key: "split_mnits"}, key, "'split_mnist'")


def test_a_scenario_the_stream_does_not_have_is_refused(monkeypatch):
    monkeypatch.setattr(check.find_stream("split_digits"), "scenarios", ("task", "class"))
    assert_refused({"study.scenario": "domain"}, "study.scenario", "'domain'", "task, class")


def test_a_scenario_the_learner_does_not_support_is_refused():
    assert_refused(
        {"study.scenario": "task_free", "methods.ewc": {}},
        "methods.ewc",
        "'task_free'",
        "task, domain, class",
    )


@pytest.mark.parametrize(
    ("fixed", "wanted"),
    [
        ({"lr": "fast"}, ["lr", "'fast'", "a number"]),
        ({"lr": -1.0}, ["lr", "-1.0", "0"]),
        ({"lr": math.nan}, ["lr", "nan"]),
        ({"epochs": 1.5}, ["epochs", "1.5", "a whole number"]),
        ({"epochs": True}, ["epochs", "True", "a whole number"]),
        ({"epochs": 0}, ["epochs", "0", "1 to 10000"]),
        ({"replay_ratio": 17}, ["replay_ratio", "17", "0.0 to 16.0"]),
        ({"hidden": 400}, ["hidden", "400", "list of whole numbers"]),
        ({"optimiser": "adm"}, ["optimiser", "'adm'", "Did you mean 'adam'?", "sgd"]),
        ({"momentm": 0.5}, ["'momentm'", "Did you mean 'momentum'?"]),
    ],
)
def test_a_fixed_value_of_the_wrong_type_or_range_is_refused(fixed, wanted):
    assert_refused(replay(fixed=fixed), "methods.replay.fixed", *wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"low": 0.1, "high": 0.1}, ["low = 0.1", "high = 0.1", "low < high"]),
        ({"low": 0.2, "high": 0.1}, ["low = 0.2", "high = 0.1", "low < high"]),
        ({"low": 0.0, "high": 1.0, "log": True}, ["low = 0.0", "0 < low < high"]),
        ({"low": -1.0, "high": 1.0, "log": True}, ["low = -1.0", "0 < low < high"]),
        ({"low": math.nan, "high": 1.0}, ["nan", "low < high"]),
        ({"low": 0.1, "high": math.inf}, ["inf"]),
        ({"high": 1.0}, ["low and high"]),
        ({"low": 1.0}, ["low and high"]),
        ({}, ["low and high", "choices"]),
        ({"log": True}, ["low and high", "choices"]),
        ({"choices": []}, ["choices"]),
        ({"low": 0.1, "high": 0.2, "choices": [0.1]}, ["choices", "low"]),
    ],
)
def test_a_range_that_is_none_is_refused(given, wanted):
    assert_refused(lr_range(**given), "methods.replay.space.lr", *wanted)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("lr", {"low": -1e-9, "high": 1.0}),
        ("replay_ratio", {"low": 0.5, "high": 16.001}),
        ("batch_size", {"low": 0, "high": 1000}),
        ("batch_size", {"choices": [*range(1, 40), 0]}),
        ("layer_norm", {"choices": [True, False, "x"]}),
        ("optimiser", {"choices": ["adam", "sgd", "sdg"]}),
        ("lr", {"choices": [[1]]}),
        ("hidden", {"choices": [[64], [64, 0]]}),
        ("hidden", {"choices": [64]}),
    ],
)
def test_a_range_that_leaves_the_options_limits_is_refused_whatever_is_drawn(option, given):
    assert_refused(replay(space={option: given}), "methods.replay", option)


@pytest.mark.parametrize(
    "given",
    [
        {"low": 1.5, "high": 3.5},
        {"low": 1.2, "high": 1.8},
        {"low": 0.5, "high": 3.0, "log": True},
    ],
)
def test_a_range_of_whole_numbers_has_whole_ends(given):
    assert_refused(replay(space={"epochs": given}), "methods.replay.space.epochs", "whole")


@pytest.mark.parametrize("option", ["optimiser", "layer_norm", "hidden"])
def test_an_option_that_is_no_number_needs_choices(option):
    given = {option: {"low": 1, "high": 2}}
    assert_refused(replay(space=given), f"methods.replay.space.{option}", "choices", "not a number")


def test_a_range_of_an_unknown_option_is_refused():
    given = {"momentm": {"low": 0.1, "high": 0.9}}
    assert_refused(
        replay(space=given), "methods.replay.space", "'momentm'", "Did you mean 'momentum'?"
    )


def test_an_option_is_fixed_or_searched():
    section = {"fixed": {"lr": 0.1}, "space": {"lr": {"low": 0.1, "high": 0.2}}}
    assert_refused({"methods.replay": section}, "methods.replay.space.lr", "fixed")


@pytest.mark.parametrize(
    "given",
    [{"low": 1, "high": 30}, {"low": 1, "high": 30, "log": True}, {"choices": [10, 20]}],
)
def test_an_optional_number_may_be_searched(given):
    assert resolve(replay(space={"memory_per_task": given}))


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({"space": {"network": {"choices": ["mlp", "con"]}}}, ("space: with", "'con'", "'conv'")),
        (
            {"space": {"network": {"choices": ["mlp", "no_such:net"]}}},
            ("space: with network = 'no_such:net'", "no_such cannot be imported"),
        ),
        (
            {"learner": "sleep_replay", "space": {"network": {"choices": ["mlp", "conv"]}}},
            ("space: with network = 'conv'", "sleep_replay needs 'mlp'"),
        ),
        (
            {
                "space": {
                    "network": {"choices": ["conv", "resnet18"]},
                    "channels": {"choices": [[8], [4, 4]]},
                }
            },
            ("space: with network = 'resnet18', channels = [4, 4]", "one number"),
        ),
        ({"space": {"kernel": {"choices": [3, 4]}}}, ("space.kernel", "kernel = 4", "odd")),
        ({"space": {"kernel": {"low": 2, "high": 5}}}, ("space.kernel", "kernel = 2", "odd")),
        ({"space": {"kernel": {"low": 1, "high": 5, "log": True}}}, ("space.kernel", "odd", "log")),
    ],
)
def test_a_search_for_networks_that_cannot_be_is_refused(section, wanted):
    fixed = {"fixed": {"network": "conv"}} if "kernel" in section["space"] else {}
    assert_refused({"methods.replay": fixed | section}, "methods.replay", *wanted)


def test_a_fixed_option_of_the_searched_networks_is_admitted():
    space = {"network": {"choices": ["conv", "resnet18"]}}
    assert resolve({"methods.replay": {"fixed": {"channels": [8]}, "space": space}})


def test_of_a_range_of_kernels_only_odd_ones_are_drawn():
    section = {"fixed": {"network": "conv"}, "space": {"kernel": {"low": 1, "high": 6}}}
    found = resolve({"methods.replay": section}).methods["replay"].space["kernel"]
    assert [n for n in range(8) if found._contains(n)] == [1, 3, 5]


def test_a_list_may_be_searched():
    assert resolve(replay(space={"hidden": {"choices": [[64], [128, 128]]}}))


@pytest.mark.parametrize(
    ("name", "distribution", "wanted"),
    [
        ("momentm", FloatDistribution(0.0, 0.9), ["'momentm'", "Did you mean 'momentum'?"]),
        ("lr", FloatDistribution(1e-4, 200.0), ["lr = 200.0", "0.0 to 100.0"]),
        ("epochs", IntDistribution(0, 9), ["epochs = 0", "1 to 10000"]),
        ("epochs", FloatDistribution(1.0, 9.0), ["epochs = 1.0", "a whole number"]),
        ("optimiser", one_of(["adam", "sdg"]), ["'sdg'", "Did you mean 'sgd'?"]),
        ("hidden", one_of([[64], [64, 0]]), ["hidden = 0", "1 to 16384"]),
        ("hidden", one_of(["wide", "narrow"]), ["'wide'", "list of whole numbers"]),
    ],
)
def test_a_space_with_what_the_learner_does_not_know_is_refused_whatever_is_drawn(
    name, distribution, wanted, monkeypatch
):
    monkeypatch.setitem(SPACES, "replay", {name: distribution})
    assert_refused({}, "methods.replay: the search space of 'replay': ", *wanted)


SPIKES = {
    "study.stream": "class_incremental_one_spoken_digits",
    "study.reference": "latent_replay",
}


def latent_replay(**section):
    return {**SPIKES, "methods": {"latent_replay": section}}


def try_sweeps(changes):
    check.try_sweeps(make_design(changes), "own.toml")


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "nsga2"])
def test_a_sweep_without_a_configuration_that_its_learner_takes_is_refused(sampler):
    uneven = latent_replay(space={"ratio": {"choices": [3, 7]}})
    with pytest.raises(InputError) as caught:
        try_sweeps({**uneven, "tune.sampler": sampler})
    for part in ("own.toml: methods.latent_replay: ", "4 configurations", "does not divide"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tune.trials": 0},
        latent_replay(),
        latent_replay(space={"ratio": {"choices": [3, 4]}}),  # some trials can run
        {**latent_replay(space={"ratio": {"choices": [3, 7]}}), "tune.trials": 0},
    ],
    ids=str,
)
def test_a_sweep_with_a_configuration_that_its_learner_takes_is_not(changes):
    try_sweeps(changes)


def test_what_a_sweep_asks_for_in_advance_is_what_it_asks_for(tmp_path):
    changes = latent_replay(space={"ratio": {"choices": [3, 4, 7]}})
    design = make_design({**changes, "tune.trials": 8})
    method = design.methods["latent_replay"]
    sweep = make_sweep(design.spec, "latent_replay", Ledger(tmp_path))
    for number in range(8):
        first = method.first_params if number == 0 else None
        asked = SweepSearch.of(design, method).ask(number, first)
        assert sweep.next(Room(slots=1, free=1)).params == asked.params


def test_a_sweep_without_trials_has_nothing_to_prune():
    assert_refused(
        {"tune.trials": 0, "tune.pruner": "asha"}, "tune.pruner", "tune.trials = 0", "'none'"
    )


def test_a_pruner_needs_a_single_objective():
    several = ["average_accuracy", "memory_bytes"]
    assert_refused(
        {"tune.objectives": several, "tune.pruner": "asha"}, "tune.pruner", "asha", "'none'"
    )
    assert resolve({"tune.objectives": several})
    assert resolve({"tune.pruner": "asha"})


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"tune.protocol": "held_out_stream"}, ["tune.stream", "held_out_stream"]),
        ({"tune.stream": "split_mnist"}, ["tune.stream", "held_out_stream"]),
        (
            {"tune.protocol": "held_out_stream", "tune.stream": "split_digits"},
            ["tune.stream", "itself"],
        ),
        ({"tune.protocol": "first_tasks", "tune.tasks": 6}, ["tune.tasks = 6", "split_digits"]),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused(changes, wanted):
    assert_refused(changes, *wanted)


def test_a_held_out_stream_needs_the_studys_scenario(monkeypatch):
    monkeypatch.setattr(check.find_stream("split_mnist"), "scenarios", ("task",))
    held_out = {"tune.protocol": "held_out_stream", "tune.stream": "split_mnist"}
    assert_refused(held_out, "tune.stream", "'class'", "task")


def test_a_metric_of_old_tasks_needs_two_tasks_to_tune_on():
    short = {"tune.protocol": "first_tasks", "tune.tasks": 1}
    assert resolve(short)
    assert_refused({**short, "study.metric": "forgetting"}, "tune.tasks", "forgetting")


@pytest.mark.parametrize("active", ["seen", "current"])
def test_active_classes_belong_to_the_class_scenario(active):
    assert resolve({"stream.active_classes": active})
    for scenario in ("task", "domain", "task_free"):
        changes = {"stream.active_classes": active, "study.scenario": scenario}
        assert_refused(
            changes, "stream.active_classes", "'class'", f"'{scenario}'", "Remove the key"
        )
        assert resolve({**changes, "stream.active_classes": "all"})


def test_what_the_stream_takes_by_default_may_be_written_out():
    works = []
    for stream in ({}, {"class_order": "fixed"}, {"active_classes": "all"}):
        spec = make_spec({"stream": stream})
        design = check.resolve(spec, "own.toml")
        works.append(design.assignment(design.methods["replay"], {}, "tune", (0,)))
    assert works[0] == works[1] == works[2]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"confirm.seeds": [1, 2, 3]}, ["confirm.seeds", "1 ", "tune.seeds"]),
        ({"confirm.seeds": {"first": 0, "count": 9}}, ["confirm.seeds", "0, 1 ", "tune.seeds"]),
        ({"tune.seeds": [1, 1]}, ["tune.seeds", "twice"]),
        ({"confirm.seeds": [7, 8, 7]}, ["confirm.seeds", "twice"]),
        ({"tune.seeds": []}, ["tune.seeds", "at least one"]),
        ({"confirm.seeds": []}, ["confirm.seeds", "at least one"]),
        ({"confirm.seeds": {"first": 5, "count": 0}}, ["confirm.seeds", "at least one"]),
    ],
)
def test_seeds_are_distinct_and_disjoint(changes, wanted):
    assert_refused(changes, *wanted)


def test_seeds_may_overlap_where_nothing_is_tuned():
    assert resolve({"tune.trials": 0, "confirm.seeds": [0, 1, 2]})


def test_several_gpus_a_trial_are_a_whole_number():
    assert resolve({"resources.gpus_per_trial": 0.5})
    assert resolve({"resources.gpus_per_trial": 2})
    with pytest.raises(InputError, match=r"gpus_per_trial"):  # Ray knows no 1.5 GPUs
        resolve({"resources.gpus_per_trial": 1.5})


def test_a_task_free_stream_is_seen_once():
    methods = resolve({"study.scenario": "task_free"}).methods
    for method in methods.values():
        assert method.configuration({})["epochs"] == 1
    fixed = {"study.scenario": "task_free", "methods.replay": {"fixed": {"epochs": 1}}}
    assert resolve(fixed).methods["replay"].configuration({})["epochs"] == 1


def test_a_task_free_stream_refuses_more_epochs():
    assert_refused(EPOCHS_TWICE, "methods.replay.fixed.epochs", "one epoch", "1")


@pytest.mark.parametrize("given", [{"low": 1, "high": 5}, {"choices": [1, 2]}])
def test_a_task_free_stream_refuses_a_search_for_epochs(given):
    search = {"study.scenario": "task_free", "methods.replay": {"space": {"epochs": given}}}
    assert_refused(search, "methods.replay.space.epochs", "one epoch")


@pytest.mark.parametrize("fixed", [{"memory_per_task": 20}, {"memory_policy": "balanced"}])
def test_a_memory_that_needs_task_boundaries_is_refused_without_them(fixed):
    free = {"study.scenario": "task_free", "methods.replay": {"fixed": fixed}}
    assert_refused(free, "methods.replay", "task-free")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_replay_balances_its_memory_over_the_tasks_unless_the_stream_hides_them(scenario):
    method = resolve({"study.scenario": scenario}).methods["replay"]
    policy = "reservoir" if scenario == "task_free" else "balanced"
    assert method.configuration({})["memory_policy"] == policy
    fixed = {"study.scenario": scenario, **replay(fixed={"memory_policy": "reservoir"})}
    assert resolve(fixed).methods["replay"].configuration({})["memory_policy"] == "reservoir"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_learner_is_told_what_its_scenario_allows(scenario):
    info = PhaseStream.of(make_spec({"study.scenario": scenario}), "confirm").info
    assert (info.name, info.scenario, info.inputs) == ("split_digits", scenario, 64)
    assert info.outputs == (2 if scenario == "domain" else 10)
    assert info.tasks == (None if scenario == "task_free" else 5)


FIRST = {"tune.protocol": "first_tasks", "tune.tasks": 3}


@pytest.mark.parametrize(
    ("changes", "stream", "tasks"),
    [({}, "split_digits", None), (HELD_OUT, "halves", None), (FIRST, "split_digits", 3)],
)
def test_the_protocol_changes_what_is_tuned_on_and_not_what_is_confirmed(
    changes, stream, tasks, halves
):
    spec = make_spec({**changes, "stream.class_order": "shuffled", "confirm.evaluate_every": 7})
    design = check.resolve(spec, "own.toml")
    method = design.methods["replay"]
    tuning = design.assignment(method, {"lr": 0.1}, "tune", (0, 1))
    assert (tuning.stream, tuning.tasks, tuning.evaluate_every) == (stream, tasks, 0)
    confirming = design.assignment(method, {"lr": 0.1}, "confirm", (100,))
    assert confirming.stream == "split_digits"
    assert (confirming.tasks, confirming.evaluate_every) == (None, 7)
    for work, phase, seeds in ((tuning, "tune", (0, 1)), (confirming, "confirm", (100,))):
        assert (work.learner, work.configuration) == ("replay", {"lr": 0.1})
        assert (work.phase, work.seeds, work.scenario) == (phase, seeds, "class")
        others = {"active_classes": "all", "augmentation": "none", "samples_per_task": 0}
        assert work.options == {"class_order": "shuffled"} | others


def test_tasks_count_only_with_the_protocol_that_uses_them(halves):
    assert PhaseStream.of(make_spec({"tune.tasks": 3}), "tune").tasks == 5
    assert PhaseStream.of(make_spec(FIRST), "tune").tasks == 3
    held_out = make_spec({**HELD_OUT, "tune.tasks": 3})
    assert PhaseStream.of(held_out, "tune").tasks == halves.tasks == 2


@pytest.mark.parametrize("objective", [*PRIMARY, "memory_bytes"])
def test_each_objective_has_its_direction(objective):
    lower = objective in ("forgetting", "memory_bytes")
    assert direction(objective) == ("minimize" if lower else "maximize")

"""Learners keep to the conformance suite with any network: convolutions, a residual network, and a
module of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
import test_learners as dense
import torch

from trainables import LEARNERS, STREAMS, InputError
from trainables.methods.agem import AGEM
from trainables.methods.finetune import Finetune
from trainables.methods.fssg import FSSG
from trainables.methods.gdumb import GDumb
from trainables.methods.gem import GEM
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.methods.spiking.spiking_finetune import SpikingFinetune
from trainables.methods.spiking.spiking_joint import SpikingJoint
from trainables.methods.spiking.spiking_replay import SpikingReplay
from trainables.methods.synaptic import Synaptic
from trainables.testing import LearnerConformance, accuracies, build, learn, make_stream

TRAINING = {"standardise": True, "epochs": 2, "batch_size": 8, "lr": 5e-3}
CONV = {"network": "conv", "channels": [8], "hidden": [32], **TRAINING}
RESNET = {
    "network": "resnet18",
    "channels": [4],
    "standardise": True,
    "optimiser": "adam",
    "lr": 1e-3,
    "batch_size": 32,
    "epochs": 3,
}
OWN = {"network": "own_networks:small", **TRAINING}
# what some methods need of their own
KEPT: dict[type, dict[str, Any]] = {
    AGEM: {"epochs": 4, "lr": 1e-3},
    FSSG: {"lr": 2e-3, "lr_slow": 5e-3},
    GDumb: {"epochs": 1, "lr": 0.05},
    GEM: {"lr": 0.05},
}
OF_ALL = (
    dense.TestFinetune,
    dense.TestJoint,
    dense.TestReplayBalanced,
    dense.TestEWC,
    dense.TestDERPlusPlus,
    dense.TestFSSG,
    dense.TestSI,
    dense.TestLwF,
    dense.TestICaRL,
    dense.TestGDumb,
    dense.TestGEM,
    dense.TestAGEM,
)
OF_FIVE = (
    dense.TestFinetune,
    dense.TestReplayBalanced,
    dense.TestEWCOnline,
    dense.TestSI,
    dense.TestICaRL,
)
OF_OWN = (dense.TestReplayBalanced, dense.TestEWC, dense.TestGEM, dense.TestICaRL)


def suites(
    kinds: Iterable[type[LearnerConformance]],
    label: str,
    network: Mapping[str, Any],
    **more: Any,
) -> Iterator[tuple[str, type[LearnerConformance]]]:
    """The suites of some learners with another network, in the class scenario."""
    for kind in kinds:
        name = f"{kind.__name__}{label}"
        options = {**kind.options, **network, **KEPT.get(kind.learner, {})}
        changes = {"options": options, "tested": ("class",), **more}
        yield name, type(name, (kind,), changes)


globals().update(suites(OF_ALL, "Conv", CONV))
globals().update(suites(OF_FIVE, "ResNet", RESNET, compared=1))
globals().update(suites(OF_OWN, "Own", OWN))


def test_every_learner_that_is_not_for_dense_networks_only_is_tested_with_convolutions():
    free = {k for k in LEARNERS.values() if not (k.dense_only or issubclass(k, RecurrentLearner))}
    own = {k for k in free if k.Config.fields()["network"].default == "conv"}  # in their suites
    assert {kind.learner for kind in OF_ALL} == free - own
    assert own == {Synaptic, SpikingFinetune, SpikingJoint, SpikingReplay}


@pytest.mark.parametrize("name", [n for n, kind in LEARNERS.items() if kind.dense_only])
def test_a_learner_for_dense_networks_refuses_others(name):
    with pytest.raises(InputError, match=f"network = 'conv': {name} needs 'mlp'"):
        build(LEARNERS[name], {"network": "conv"}, make_stream("class"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"network": "resnet", "channels": [4]},
            "network: unknown network 'resnet'. Did you mean 'resnet18'?",
        ),
        ({"network": "no_such_package:net"}, "no_such_package cannot be imported (ModuleNotFou"),
        ({"network": "own_networks:big"}, "own_networks has no function 'big'"),
        ({"network": "own_networks:nothing"}, "is a int, and no function"),
        ({"network": "own_networks:failing"}, "failed (ZeroDivisionError: no)"),
        ({"channels": [3]}, "channels is no option of the network 'mlp': remove it"),
        ({"network": "resnet18", "kernel": 5}, "kernel is no option of the network 'resnet18'"),
        ({"network": "own_networks:small", "norm": "batch"}, "norm is no option of the network"),
        ({"network": "conv", "channels": []}, "channels = []: give at least one"),
        ({"network": "resnet18", "channels": [4, 8]}, "give resnet18 one number"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_with_the_reason(options, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        build(Finetune, options, make_stream("class"))


def test_convolutions_need_images():
    info = STREAMS["progressive_classes_spoken_digits"]
    stream = info.describe("class", info.Options.parse({}))
    with pytest.raises(InputError, match="network = 'conv' needs images; the samples of progress"):
        Finetune(Finetune.Config(network="conv"), stream, (1,))


@pytest.mark.parametrize("name", ["ewc", "si", "gem", "agem", "der", "icarl"])
def test_a_module_that_cannot_be_vectorised_and_has_idle_weights_is_learnt_with(name):
    stream = make_stream("class")
    options = {**OWN, "network": "own_networks:choosy", "epochs": 1}
    learner = build(LEARNERS[name], options, stream)
    idle = learner.network.state()["idle.weight"].clone()
    learn(learner, stream, 0, 2)
    assert torch.equal(learner.network.state()["idle.weight"], idle)
    assert learner.losses.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options"),
    [("finetune", {"batch_size": 1}), ("gem", {"memory_total": 5}), ("gdumb", {"passes": 2})],
)
def test_a_batch_of_one_value_in_a_channel_is_normalised_as_in_evaluation(name, options):
    """The images of the last layers of a residual network have one pixel."""
    stream = make_stream("class")
    if name == "gdumb":
        options = {**options, "memory_total": 17, "fit_batch_size": 16}
    learner = build(LEARNERS[name], {"network": "resnet18", "channels": [2], **options}, stream)
    task = stream.task(0)
    batch = next(task.batches(1, options.get("batch_size", 8)))
    if name == "finetune":
        assert learner.observe(batch).isfinite().all()
        return
    learn(learner, stream, 0, 1)
    assert learner.losses.isfinite().all()


def test_both_networks_of_fssg_are_built_on_a_module_of_ones_own():
    stream = make_stream("class")
    learner = build(FSSG, {**OWN, "slow_hidden": [16], "memory_per_task": 20}, stream)
    before = learner.slow.backbone.network.state()["0.weight"].clone()
    learn(learner, stream, 0, 1)
    assert not torch.equal(learner.slow.backbone.network.state()["0.weight"], before)
    assert accuracies(learner, stream, 1)[:, 0].mean() > 0.65  # slower than alone


def test_the_gated_network_of_fssg_excludes_another():
    with pytest.raises(InputError, match="gated = true replaces the network 'conv'"):
        build(LEARNERS["fssg"], {"gated": True, "network": "conv"}, make_stream("class"))

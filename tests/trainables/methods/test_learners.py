"""Our learners, held to what every learner has to keep."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from spiking_digits import SpikingDigits

from trainables import LEARNERS, InputError, find_learner
from trainables.methods.agem import AGEM
from trainables.methods.der import DER
from trainables.methods.ewc import EWC
from trainables.methods.finetune import Finetune
from trainables.methods.fssg import FSSG
from trainables.methods.gdumb import GDumb
from trainables.methods.gem import GEM
from trainables.methods.icarl import ICaRL
from trainables.methods.joint import Joint
from trainables.methods.lwf import LwF
from trainables.methods.replay import Replay
from trainables.methods.si import SI
from trainables.methods.sleep.icarl_sleep import ICaRLSleep
from trainables.methods.sleep.merging import Merging
from trainables.methods.sleep.sleep_replay import SleepReplay
from trainables.methods.sleep.wake_joint import WakeJoint
from trainables.methods.spiking.latent_replay import LatentReplay
from trainables.methods.spiking.leaky import LeakyLearner
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.methods.spiking.spiking_finetune import SpikingFinetune
from trainables.methods.spiking.spiking_joint import SpikingJoint
from trainables.methods.spiking.spiking_naive import SpikingNaive
from trainables.methods.spiking.spiking_rehearsal import SpikingRehearsal
from trainables.methods.spiking.spiking_replay import SpikingReplay
from trainables.methods.synaptic import Synaptic
from trainables.streams.datasets import load
from trainables.testing import LearnerConformance, learn, make_stream, tensor_bytes

QUICK = {"hidden": [32], "epochs": 1, "batch_size": 8, "lr": 1e-2}
SLOWER = QUICK | {"epochs": 2, "batch_size": 6, "lr": 5e-3}
GDUMB_QUICK = {
    "hidden": [32],
    "batch_size": 6,
    "memory_total": 100,
    "passes": 8,
    "fit_batch_size": 8,
}


SPIKING_QUICK = {
    "hidden": [64, 32],
    "weight_scale": 1.0,
    "batch_size": 32,
    "pretrain_epochs": 8,
    "pretrain_lr": 0.005,
    "epochs": 4,
    "lr": 0.01,
}


class TestFinetune(LearnerConformance):
    learner = Finetune
    options = QUICK
    forgets = True


class TestFinetuneSGD(LearnerConformance):
    learner = Finetune
    options = QUICK | {"optimiser": "sgd", "lr": 0.01, "momentum": 0.9, "layer_norm": True}
    forgets = True


SYNAPTIC_QUICK = {
    "network": "conv",
    "channels": [8, 8],
    "hidden": [32],
    "epochs": 4,
    "probe_epochs": 1,
    "batch_size": 16,
    "lr": 5e-3,
    "initial": "kaiming",
}


LEAKY_QUICK = {
    "network": "conv",
    "channels": [8],
    "kernel": 3,
    "hidden": [32],
    "steps": 6,
    "slope": 5.0,
    "epochs": 4,
    "batch_size": 8,
    "lr": 5e-3,
}


class SlicedConformance(LearnerConformance):
    """For a network of slices, whose tensors are as large as the largest seed needs."""

    def weights(self, learner, position):
        network = learner.network
        return [
            tensor
            for task in range(network.tasks)
            for weight, bias in network.blocks(position, task)
            for tensor in (weight, bias)
        ]

    def parameter_bytes(self, learner, position, allocated):
        return tensor_bytes(self.weights(learner, position))


class TestSynaptic(SlicedConformance):
    learner = Synaptic
    options = SYNAPTIC_QUICK | {"max_growths": 2, "threshold": 0.97, "growth": 0.3}
    above_chance = 0.15  # classes: a slice that never saw them may be the most confident one


class TestSynapticCumulative(SlicedConformance):
    learner = Synaptic
    options = SYNAPTIC_QUICK | {
        "mode": "cumulative",
        "later_sizes": [0.0, 0.5],
        "max_growths": 1,
        "threshold": 1.0,
        "cap": 1.5,
    }
    tested = ("task",)


class TestSynapticThawed(SlicedConformance):
    learner = Synaptic
    options: ClassVar = {
        "network": "mlp",
        "hidden": [32, 24],
        "mode": "cumulative",
        "epochs": 2,
        "batch_size": 8,
        "lr": 1e-2,
        "initial": "kaiming",
        "thaw": 0.1,
        "held_out": 0.0,
        "outside": "zero",
        "optimiser": "sgd",
        "momentum": 0.5,
    }
    tested = ("class",)


class TestJoint(LearnerConformance):
    learner = Joint
    options = QUICK

    def memory_bytes(self, learner):
        """All the training data, from the first step on: 8 x 8 pixels and a label a sample."""
        samples = load("digits", Path())["train"]["labels"].size
        return samples * (64 + 1) if learner.trained else 0


class TestSpikingFinetune(LearnerConformance):
    learner = SpikingFinetune
    options = LEAKY_QUICK
    forgets = True


class TestSpikingJoint(TestJoint):
    learner = SpikingJoint
    options = LEAKY_QUICK
    tested = ("class", "task_free")


class TestSpikingReplay(LearnerConformance):
    learner = SpikingReplay
    options = LEAKY_QUICK | {"memory_per_task": 20, "encoding": "rate", "stored": "encoded"}
    only, tested = ("task", "domain", "class"), ("domain", "class")


class TestSpikingReplayReservoir(LearnerConformance):
    learner = SpikingReplay
    options = LEAKY_QUICK | {
        "memory_total": 100,
        "memory_policy": "reservoir",
        "surrogate": "atan",
        "slope": 2.0,
        "head_loss": "seen",
        "loss": "mse_count",
    }
    tested = ("class", "task_free")
    above_chance = 0.1  # one pass through a task-free stream


class TestSpikingReplayAsInItsSource(LearnerConformance):
    learner = SpikingReplay
    options = LEAKY_QUICK | {
        "memory_batches": 2,
        "encoding": "static",
        "stored": "encoded",
        "state": "reset",
        "ties": "lowest",
        "replay_schedule": "epoch_start",
        "replay_lr": 1e-3,
        "replay_labels": "last",
        "replay_updates": "features",
        "first_outputs": "seen",
        "alignment": "late",
        "optimiser_per_task": True,
        "threshold": 0.5,
    }
    only, tested = ("class",), ("class",)
    forgets = True  # replay with wrong labels, without an effect on the outputs
    above_chance = 0.05

    def auxiliary_bytes(self, learner):
        return super().auxiliary_bytes(learner) - tensor_bytes(
            learner.state()["replay_optimiser"]
        ) // len(learner.seeds)


class TestSpikingReplayTwin(LearnerConformance):
    learner = SpikingReplay
    options = LEAKY_QUICK | {"units": "relu", "memory_per_task": 20}
    only, tested = ("task", "domain", "class"), ("class",)


class TestReplay(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_total": 100, "memory_policy": "reservoir"}


class TestReplayPerTask(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_per_task": 20, "memory_policy": "reservoir"}
    only = ("task", "domain", "class")


class TestReplayBalanced(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_total": 103, "memory_policy": "balanced"}
    only = ("task", "domain", "class")


class TestReplayBalancedPerTask(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_per_task": 20, "memory_policy": "balanced", "replay_ratio": 0.7}
    only = ("task", "domain", "class")


class TestEWC(LearnerConformance):
    learner = EWC
    options = QUICK | {"lam": 100.0}
    forgets = True


class TestEWCOnline(LearnerConformance):
    learner = EWC
    options = SLOWER | {"lam": 100.0, "online": True, "gamma": 0.9, "fisher_samples": 50}
    forgets = True


class TestDERPlusPlus(LearnerConformance):
    learner = DER
    options = QUICK | {"memory_total": 100, "optimiser": "adam", "layer_norm": True}


class TestDER(LearnerConformance):
    learner = DER
    options = SLOWER | {"memory_bytes": 10_000, "beta": 0.0, "lr": 0.03, "optimiser": "sgd"}


FSSG_QUICK = {
    "hidden": [32, 16],
    "slow_hidden": [32],
    "epochs": 2,
    "batch_size": 8,
    "lr": 5e-3,
    "lr_slow": 1e-2,
    "memory_per_task": 30,
    "interval": 3,
}


class TestFSSG(LearnerConformance):
    learner = FSSG
    options = FSSG_QUICK | {"lam_consolidation": 0.3}

    def auxiliary_bytes(self, learner):
        """None: the slow network is live."""
        return 0


class TestFSSGGated(TestFSSG):
    # Adam would blow up the rounding errors of weights whose gradient is zero (shifts of the keys)
    options = FSSG_QUICK | {
        "gated": True,
        "neurons": 4,
        "rounds": 2,
        "top_k": 2,
        "summary": False,
        "optimiser": "sgd",
        "momentum": 0.9,
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.01,
        "lr_slow": 0.03,
    }


class TestSI(LearnerConformance):
    learner = SI
    options = SLOWER | {"c": 1.0}
    forgets = True


class TestSISGD(LearnerConformance):
    learner = SI
    options = SLOWER | {"optimiser": "sgd", "lr": 0.01, "layer_norm": True, "c": 0.1, "xi": 0.5}
    forgets = True


class TestLwF(LearnerConformance):
    learner = LwF
    options = SLOWER
    forgets = True


class TestICaRL(LearnerConformance):
    learner = ICaRL
    options = QUICK | {"memory_total": 100}


class TestICaRLPerTask(LearnerConformance):
    learner = ICaRL
    options = QUICK | {"memory_per_task": 23, "layer_norm": True, "standardise": True}


class TestGDumb(LearnerConformance):
    learner = GDumb
    options = GDUMB_QUICK

    def spoil(self, learner):
        """Every fit begins with fresh weights: these become NaN."""
        build_network = learner.build_network

        def build_spoiled():
            network = build_network()
            with torch.no_grad():
                for weight in network.parameters():
                    weight[1] = torch.nan
            return network

        learner.build_network = build_spoiled

    def test_a_fit_that_diverges_leaves_its_mark_on_the_losses(self, scenario):
        learner = self.build(self.stream(scenario))
        self.spoil(learner)
        learn(learner, self.stream(scenario), 0, 1)
        assert learner.losses.isfinite().tolist() == [True, False, True]


class TestGDumbCutMix(TestGDumb):
    options = GDUMB_QUICK | {"cutmix": 0.5, "optimiser": "adam", "lr": 5e-3, "memory_bytes": 5000}


class TestGEM(LearnerConformance):
    learner = GEM
    options = QUICK | {"lr": 0.05, "memory_total": 103}


class TestGEMPerTask(LearnerConformance):
    """More samples a task than some tasks have."""

    learner = GEM
    options = QUICK | {"lr": 0.05, "memory_per_task": 290, "gamma": 0.0}


class TestAGEM(LearnerConformance):
    learner = AGEM
    options = QUICK | {"lr": 1e-3, "epochs": 4, "memory_total": 100, "ref_batch": 50}


WAKE_QUICK = {"hidden": [32], "epochs": 2, "batch_size": 6, "lr": 0.05}


class SleepConformance(LearnerConformance):
    """Bytes of what sleep keeps of past data, which is no memory object."""

    def dream_bytes(self, learner):
        """The mean image or the samples so far."""
        return tensor_bytes(learner.state()["asleep"]["dreams"]) // len(learner.seeds)

    def memory_bytes(self, learner):
        return super().memory_bytes(learner) + self.dream_bytes(learner)

    def auxiliary_bytes(self, learner):
        return super().auxiliary_bytes(learner) - self.dream_bytes(learner)


class TestSleepReplay(SleepConformance):
    """Sleep needs wide networks to bring anything back: 32 units cannot hold more than a task."""

    learner = SleepReplay
    options = WAKE_QUICK | {"sleep_steps": 40, "inc": 3e-3, "beta_first": 4.0, "beta_last": 2.0}
    forgets = True


class TestSleepReplayAuthors(SleepConformance):
    """As the authors' code has it: its gate, loss, velocity, dropout, window, data and factors."""

    learner = SleepReplay
    options = WAKE_QUICK | {
        "hidden": [24, 16],
        "loss": "squared_relu",
        "keep_velocity": True,
        "inverted_dropout": False,
        "sleep_steps": 40,
        "inc": 1e-3,
        "gate": "matlab",
        "normalisation": "reference_code",
        "alpha_scale": 4.0,
        "beta_first": 4.0,
        "beta_hidden": 4.0,
        "beta_last": 2.0,
        "mask": "window",
        "mask_window": 4,
        "sleep_data": "seen",
        "probe": 3,
    }
    forgets = True  # see above


class TestSleepReplayRehearsal(SleepConformance):
    """Forty samples that are rehearsed: these are what remembers."""

    learner = SleepReplay
    options = WAKE_QUICK | {
        "bias": True,
        "memory_total": 40,
        "sleep_steps": 40,
        "inc": 3e-3,
        "normalisation": "consistent",
        "alpha_scale": 4.0,
        "beta_first": 1.0,
        "beta_last": 1.0,
        "reset": "subtract",
        "sleep_data": "mean",
    }


class TestICaRLSleep(SleepConformance):
    learner = ICaRLSleep
    options = QUICK | {
        "memory_total": 100,
        "sleep_steps": 40,
        "inc": 3e-3,
        "beta_first": 4.0,
        "beta_last": 2.0,
        "sleep_data": "seen",
        "probe": 2,
    }


class TestMerging(LearnerConformance):
    """Networks of a task each know little of the others' classes: 32 units merge to a third."""

    learner = Merging
    options = WAKE_QUICK
    forgets = True

    def spoil(self, learner):
        """Every task begins with fresh weights: the weights to merge become NaN."""
        for weight in learner.weights.values():
            weight[1] = torch.nan


class TestMergingLowRank(TestMerging):
    options = WAKE_QUICK | {"bias": True, "rank": 16, "merge": "sum", "shared_start": False}


class TestWakeJoint(LearnerConformance):
    learner = WakeJoint
    options = WAKE_QUICK

    def memory_bytes(self, learner):
        """All the training data, from the first step on: 8 x 8 pixels and a label a sample."""
        samples = load("digits", Path())["train"]["labels"].size
        return samples * (64 + 1) if learner.trained else 0


def test_every_learner_is_held_to_the_conformance_suite():
    direct = LearnerConformance.__subclasses__()
    bases = SleepConformance, SlicedConformance, TestJoint
    kinds = [*direct, *(kind for base in bases for kind in base.__subclasses__())]
    tested = {kind.learner for kind in kinds if kind not in bases[:2]}
    assert tested == set(LEARNERS.values())


def test_names_are_those_of_the_classes():
    assert all(find_learner(name).name == name for name in LEARNERS)


def test_an_unknown_learner_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'replay'"):
        find_learner("reply")


def test_learners_of_equal_networks_start_from_equal_weights():
    stream = make_stream("class")
    options = {"hidden": [32], "layer_norm": False}
    kinds = []
    for kind in LEARNERS.values():
        if issubclass(kind, LeakyLearner | RecurrentLearner | Synaptic):
            continue
        same = {"bias": True} if "bias" in kind.Config.fields() else {}
        kinds.append(kind(kind.Config.parse(options | same), stream.info, stream.seeds))
    first = [w.tolist() for w in kinds[0].network.parameters()]
    assert all([w.tolist() for w in kind.network.parameters()] == first for kind in kinds)


class TestSpikingNaive(LearnerConformance):
    learner = SpikingNaive
    options = SPIKING_QUICK
    source = SpikingDigits
    forgets = True


class TestSpikingRehearsal(LearnerConformance):
    learner = SpikingRehearsal
    options = SPIKING_QUICK | {"memory_total": 200, "ratio": 2, "order": "interleaved"}
    source = SpikingDigits


class TestLatentReplay(LearnerConformance):
    learner = LatentReplay
    options = SPIKING_QUICK | {"memory_total": 200, "depth": 1}
    source = SpikingDigits


class TestLatentReplayOfCurrents(LearnerConformance):
    learner = LatentReplay
    options = SPIKING_QUICK | {
        "memory_total": 200,
        "depth": 0,
        "ratio": 2,
        "order": "mixed",
        "optimiser": "adam",
    }
    source = SpikingDigits

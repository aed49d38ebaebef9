"""FSSG-Net, later renamed FSC-Net: a fast network that replays, a slow network that consolidates.

Source: "FSC-Net: Fast-Slow Consolidation Networks" (arXiv 2511.11707) and its code; where the two
differ, this implementation follows the code. With the fast network's logits z1 and summary s(x),
the output of its last hidden layer, the slow network has the logits z2 = f(x, s(x)):

    fast:  L1 = CE(z1, y)                                       at every step
    slow:  L2 = (1 - lam) CE(z2, y) + lam tau^2 KL(p1 || p2)    at every 10th step, and in a
                                                                consolidation phase after a task

with p = softmax(z / tau) and z clamped to [-20, 20]. The fast network never learns from the slow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import cross_entropies, descend, training
from trainables.memory import BalancedMemory, capacity_per_task, check_budget
from trainables.networks import build_backbone
from trainables.nn import MLP, Dropout, GatedNetwork
from trainables.options import EPOCHS, FACTOR, LAYERS, LEARNING_RATE, SAMPLES, WIDTH, option
from trainables.rehearsal import Rehearsal
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo, Task

LIMIT = 20.0  # logits are clamped to [-LIMIT, LIMIT], with zero gradient outside
FORBIDDEN = -1e4  # logit of an output that does not compete


class Samples(NamedTuple):
    """Samples from which both networks learn in a step."""

    inputs: Tensor  # encoded, [S, B, D]
    labels: Tensor  # [S, B]
    weights: Tensor | None  # [S, B]; None for equal weights
    mask: Tensor | None  # outputs that compete in the loss; None for all


class SlowNetwork(torch.nn.Module):
    """Dense layers on a sample joined with the summary; with convolutions, the features of the
    sample take its place.
    """

    def __init__(self, backbone: torch.nn.Module, head: MLP) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, inputs: Tensor, summary: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.backbone(inputs), summary], -1))
        return logits


class FSSG(Rehearsal["FSSG.Config"]):
    """Fast and slow networks with replay, distillation, and consolidation after each task.

    The fast network alone is experience replay; its accuracy is recorded as the readout ``fast``.
    Differences from the source: samples are stored without augmentation and augmented at every
    replay, instead of storing one random view; a loss that is not finite marks the seed as
    diverged, instead of skipping the step.
    """

    name = "fssg"
    reference = "FSC-Net: Fast-Slow Consolidation Networks, arXiv 2511.11707"
    scenarios = ("task", "domain", "class")
    readouts = ("slow", "fast")

    class Config(Rehearsal.Config):
        """Options of FSSG-Net; defaults of its 30-seed Split-MNIST run."""

        hidden: tuple[int, ...] = option(
            (128, 64, 128, 64),
            "widths of the hidden layers of the fast network; the last layer is the summary",
            low=1,
            high=WIDTH,
            longest=LAYERS,
        )
        layer_norm: bool = option(
            True, "layer normalisation after each hidden layer of the fast network"
        )
        slow_hidden: tuple[int, ...] = option(
            (256, 128),
            "widths of the hidden layers of the slow network",
            low=1,
            high=WIDTH,
            longest=LAYERS,
        )
        standardise: bool = option(
            True,
            "standardise inputs with the mean and standard deviation of the data set; otherwise "
            "they are scaled to 0..1",
        )
        lr: float = option(1e-3, "learning rate of the fast network", low=0.0, high=LEARNING_RATE)
        lr_slow: float = option(
            5e-4, "learning rate of the slow network", low=0.0, high=LEARNING_RATE
        )
        epochs: int = option(5, "epochs per task", low=1, high=EPOCHS)
        batch_size: int = option(
            64,
            "mini-batch size: new samples per training step, and samples per consolidation step; "
            "the whole task if it has fewer",
            low=1,
            high=SAMPLES,
        )
        grad_clip: float = option(
            1.0, "gradient clipping: largest norm; 0: no clipping", low=0.0, high=FACTOR
        )
        replay_probability: float = option(
            0.3, "probability of replay in a step, after the first task", low=0.0, high=1.0
        )
        replay_ratio: float = option(
            1.0, "replayed samples per new sample, in a step with replay", low=0.02, high=16.0
        )
        balanced_replay: bool = option(
            True, "replay equally many samples of each task; otherwise uniform over the memory"
        )
        interval: int = option(
            10, "steps of the fast network per step of the slow network", low=1, high=1_000_000
        )
        consolidation_epochs: int = option(
            2,
            "epochs of the slow network over the memory after each task; 0: no consolidation",
            low=0,
            high=EPOCHS,
        )
        lam_task: float = option(
            0.3,
            "weight lambda of the distillation, against 1 - lambda of the cross-entropy, in the "
            "slow network's loss during a task",
            low=0.0,
            high=1.0,
        )
        lam_consolidation: float = option(
            0.0, "the same weight lambda during consolidation", low=0.0, high=1.0
        )
        tau: float = option(
            2.0, "temperature of the softmax in the distillation", low=0.1, high=1e3
        )
        dropout: float = option(0.2, "dropout rate of the slow network", low=0.0, high=0.9)
        summary: bool = option(
            True, "pass the summary of the fast network to the slow network; otherwise zeros"
        )
        gated: bool = option(
            False,
            "similarity-gated fast network (an ablation; the authors' has hidden = [128, 64])",
        )
        neurons: int = option(16, "neurons of the gated network", low=1, high=128)
        rounds: int = option(3, "rounds of messages in the gated network", low=1, high=32)
        top_k: int = option(
            5,
            "number of most similar neurons that each neuron of the gated network attends to",
            low=1,
            high=128,
        )

    network: Any  # with features
    memory: BalancedMemory

    def prepare(self) -> None:
        self.slow = self.build_slow()
        self.slow_optimiser = self.build_optimiser(self.slow, self.config.lr_slow)
        share = capacity_per_task(self.config, self.stream)
        self.memory = BalancedMemory(self.seeds, self.stream, self.device, lambda tasks: share)
        self.keep("slow", "slow_optimiser", "noise", "memory")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return the published memory: 200 samples per task."""
        return super().published(stream) | {"memory_total": 200 * (stream.tasks or 5)}

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        if not config.hidden and config.network == "mlp":
            raise InputError("hidden = [] leaves no layer for the summary; give at least one width")
        if config.gated and config.network != "mlp":
            raise InputError(f"gated = true replaces the network '{config.network}': give one only")
        check_budget(config, stream, shared=True)

    # -- the two networks

    def build_network(self) -> torch.nn.Module:
        """Return the fast network."""
        config = self.config
        if not config.gated:
            return super().build_network()
        draws = [generator(seed, "weights") for seed in self.seeds]
        network = GatedNetwork(
            self.stream.inputs,
            config.hidden,
            self.stream.outputs,
            draws,
            config.neurons,
            config.rounds,
            min(config.top_k, config.neurons),
        )
        return network.to(self.device).eval()

    def build_slow(self) -> SlowNetwork:
        """Return the slow network, with a backbone of its own."""
        config, stream = self.config, self.stream
        draws = [generator(seed, "slow weights") for seed in self.seeds]
        self.noise = Draws(self.seeds, "dropout", self.device)
        backbone = build_backbone(config, stream, draws)
        head = MLP(
            backbone.width + self.network.width,
            config.slow_hidden,
            stream.outputs,
            draws,
            layer_norm=True,
            dropout=Dropout(config.dropout, self.noise),
        )
        return SlowNetwork(backbone, head).to(self.device).eval()

    def fast(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fast network's logits and summary of encoded inputs."""
        summary = self.network.features(inputs)
        logits = self.network.classify(summary)
        return logits.clamp(-LIMIT, LIMIT), summary

    def slow_logits(self, inputs: Tensor, summary: Tensor) -> Tensor:
        """Return the logits of the slow network; no gradient flows through the summary."""
        summary = summary.detach() if self.config.summary else torch.zeros_like(summary)
        logits: Tensor = self.slow(inputs, summary)
        return logits.clamp(-LIMIT, LIMIT)

    # -- during a task

    def begin_task(self, task: Task) -> None:
        """Draw the steps in which each seed replays in advance: a step needs no host transfer."""
        steps = self.config.epochs * task.steps(self.config.batch_size)
        draws = (generator(seed, "replay", task.id) for seed in self.seeds)
        probability = self.config.replay_probability
        replays = torch.stack([torch.rand(steps, generator=draw) < probability for draw in draws])
        self.any_replays = bytes(replays.any(0).numpy())  # one byte per step: steps may be many
        self.replays = replays.to(self.device)

    def observe(self, batch: Batch) -> Tensor:
        step, task = batch.task.steps_done, batch.task
        slow_turn = step % task.steps(self.config.batch_size) % self.config.interval == 0
        inputs, labels, weights = self.with_replay(batch, step % self.replays.shape[1], slow_turn)
        samples = Samples(self.encode(inputs), labels, weights, task.loss_mask(labels))
        with training(self.network):
            logits, summary = self.fast(samples.inputs)
        loss = weighted_mean(cross_entropies(logits, labels, samples.mask), weights)
        total = descend(loss, self.optimiser, self.config.grad_clip)
        if slow_turn:
            total = total + self.slow_step(samples, logits.detach(), summary, self.config.lam_task)
        return total

    def with_replay(
        self, batch: Batch, step: int, always: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Join the batch with replayed samples, of weight 0 for a seed that does not replay in this
        step: inputs [S, B', D], labels and weights [S, B'].

        If no seed replays, return the batch alone, unless ``always``. Random numbers are drawn in
        both cases, so that the draws of a seed do not depend on its stack.
        """
        config, (stack, count) = self.config, batch.labels.shape
        self.trained += count
        if not len(self.memory) or not config.replay_probability:
            return batch.inputs, batch.labels, None
        # seeds replay in different steps: count the expected number
        replayed = max(1, round(config.replay_ratio * count))
        self.trained += round(config.replay_probability * replayed)
        inputs, labels = self.remembered(replayed)
        if not (always or self.any_replays[step]):
            return batch.inputs, batch.labels, None
        new_weights = torch.ones(stack, count, device=self.device)
        old_weights = self.replays[:, step, None].expand(-1, replayed).float()
        return (
            torch.cat([batch.inputs, inputs], 1),
            torch.cat([batch.labels, labels], 1),
            torch.cat([new_weights, old_weights], 1),
        )

    def slow_step(self, samples: Samples, teacher: Tensor, summary: Tensor, lam: float) -> Tensor:
        """Take a step of the slow network on the labels and, with weight ``lam``, on the
        distillation from the fast network; return the loss, [S].

        Args:
            teacher: logits of the fast network, [S, B, C].
            summary: summary of the fast network, [S, B, width].
        """
        with training(self.slow):
            logits, mask = self.slow_logits(samples.inputs, summary), samples.mask
        losses = cross_entropies(logits, samples.labels, mask).mul(1 - lam)
        if lam:
            student, teacher = self.masked(logits, mask), self.masked(teacher, mask)
            losses = losses + lam * distillation(student, teacher, self.config.tau)
        loss = weighted_mean(losses, samples.weights)
        return descend(loss, self.slow_optimiser, self.config.grad_clip)

    # -- after a task

    def end_task(self, task: Task) -> None:
        """Store samples of the task, then consolidate: the slow network learns from the memory.

        Consolidation uses random streams of its own, so that its length does not affect the fast
        network.
        """
        config, size = self.config, task.samples_per_step(self.config.batch_size)
        if config.replay_probability or config.consolidation_epochs:
            self.memory.end_task(task)
        with self.memory.drawing(f"consolidation/{task.id}"):
            for _ in range(config.consolidation_epochs * -(-len(self.memory) // size)):
                self.consolidate(task, size)

    def consolidate(self, task: Task, size: int) -> None:
        """Take a step of the slow network on ``size`` samples of the memory."""
        inputs, labels = self.remembered(size)
        self.trained += size
        samples = Samples(self.encode(inputs), labels, None, task.loss_mask(labels))
        with torch.no_grad():
            teacher, summary = self.fast(samples.inputs)
        self.slow_step(samples, teacher, summary, self.config.lam_consolidation)

    def remembered(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw inputs and labels from the memory, augmented if the stream augments."""
        balanced = self.config.balanced_replay
        slots = self.memory.draw_evenly(count) if balanced else self.memory.draw(count)
        inputs, labels = self.memory.gather(slots)
        return self.memory.views(inputs), labels

    @staticmethod
    def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
        return logits if mask is None else logits.masked_fill(~mask, FORBIDDEN)

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        return self.readout_logits(inputs, task_id)["slow"]

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        inputs = self.encode(inputs)
        logits, summary = self.fast(inputs)
        return {"slow": self.slow_logits(inputs, summary), "fast": logits}


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean of each seed's losses over a batch, [S]; plain mean without weights."""
    return losses.mean(1) if weights is None else (losses * weights).sum(1) / weights.sum(1)


def distillation(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)) of each sample, [S, B]."""
    log_p, log_q = (teacher / tau).log_softmax(-1), (student / tau).log_softmax(-1)
    return tau**2 * (log_p.exp() * (log_p - log_q)).sum(-1)

"""FSSG-Net, renamed FSC-Net: a fast network that replays, a slow one that consolidates.

Source: "FSC-Net: Fast-Slow Consolidation Networks" (arXiv 2511.11707) and its code, which differ;
where they do, this is the code. With the fast network's logits z1 and summary s(x), the output of
its last hidden layer, the slow network answers z2 = f(x, s(x)):

    fast:  L1 = CE(z1, y)                                       at every step
    slow:  L2 = (1 - lam) CE(z2, y) + lam tau^2 KL(p1 || p2)    at every tenth step, and in a phase
                                                                of its own after a task

with p = softmax(z / tau) and z clamped to [-20, 20]. Nothing flows from the slow to the fast one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import cross_entropies, descend
from trainables.memory import BalancedMemory, check_budget, share
from trainables.nn import MLP, Dropout, GatedNetwork
from trainables.options import EPOCHS, FACTOR, LAYERS, LEARNING_RATE, SAMPLES, WIDTH, option
from trainables.rehearsal import Rehearsal
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo, Task

LIMIT = 20.0  # of a logit, either side; its gradient is zero beyond
FORBIDDEN = -1e4  # logit of an output that does not compete


class Samples(NamedTuple):
    """What both networks learn from in a step: encoded inputs [S, B, D], labels [S, B], weights
    [S, B] or None where all samples count alike, and outputs that compete, as of a loss mask.
    """

    inputs: Tensor
    labels: Tensor
    weights: Tensor | None
    mask: Tensor | None


class FSSG(Rehearsal["FSSG.Config"]):
    """Fast and slow networks with replay, distillation, and consolidation after each task.

    The fast network alone is experience replay; its accuracy is kept as the readout ``fast``.
    Differences from the source: samples are stored without augmentation and augmented anew when
    replayed (theirs keep one random view); a loss that is not finite marks its seed as diverged
    (theirs skip the step).
    """

    name = "fssg"
    reference = "FSC-Net: Fast-Slow Consolidation Networks, arXiv 2511.11707"
    scenarios = ("task", "domain", "class")
    readouts = ("slow", "fast")

    class Config(Rehearsal.Config):
        """Options of FSSG-Net; defaults of its 30-seed Split-MNIST run."""

        hidden: tuple[int, ...] = option(
            (128, 64, 128, 64),
            "widths of the fast network; the last is that of the summary",
            low=1,
            high=WIDTH,
            longest=LAYERS,
        )
        layer_norm: bool = option(True, "layer normalisation after each hidden layer of it")
        slow_hidden: tuple[int, ...] = option(
            (256, 128), "widths of the slow network", low=1, high=WIDTH, longest=LAYERS
        )
        standardise: bool = option(
            True, "inputs less their mean over the data set, over its deviation"
        )
        lr: float = option(1e-3, "learning rate of the fast network", low=0.0, high=LEARNING_RATE)
        lr_slow: float = option(
            5e-4, "learning rate of the slow network", low=0.0, high=LEARNING_RATE
        )
        epochs: int = option(5, "passes over the data of a task", low=1, high=EPOCHS)
        batch_size: int = option(
            64,
            "new samples a step; samples of a consolidation step; at most as many as a task has",
            low=1,
            high=SAMPLES,
        )
        grad_clip: float = option(1.0, "largest norm of a gradient; 0: any", low=0.0, high=FACTOR)
        replay_probability: float = option(
            0.3, "chance that a step replays, once there is a memory", low=0.0, high=1.0
        )
        replay_ratio: float = option(
            1.0, "replayed samples per new sample, when it does", low=0.02, high=16.0
        )
        balanced_replay: bool = option(True, "replay as many samples of each task")
        interval: int = option(
            10, "the slow network learns at every so manyeth step", low=1, high=1_000_000
        )
        consolidation_epochs: int = option(
            2,
            "passes over the memory after a task, by the slow network; 0: no consolidation",
            low=0,
            high=EPOCHS,
        )
        lam_task: float = option(0.3, "share of distillation during a task", low=0.0, high=1.0)
        lam_consolidation: float = option(
            0.0, "share of distillation in consolidation", low=0.0, high=1.0
        )
        tau: float = option(2.0, "temperature of distillation", low=0.1, high=1e3)
        dropout: float = option(0.2, "dropout of the slow network", low=0.0, high=0.9)
        summary: bool = option(True, "give the slow network the summary; otherwise zeros")
        gated: bool = option(
            False,
            "similarity-gated fast network (an ablation; theirs has hidden = [128, 64])",
        )
        neurons: int = option(16, "neurons of the gated network", low=1, high=128)
        rounds: int = option(3, "rounds of messages in the gated network", low=1, high=32)
        top_k: int = option(5, "neurons that each hears in the gated network", low=1, high=128)

    memory: BalancedMemory

    def prepare(self) -> None:
        self.slow = self.build_slow()
        self.slow_optimiser = self.build_optimiser(self.slow, self.config.lr_slow)
        each = share(self.config, self.stream)
        self.memory = BalancedMemory(self.seeds, self.stream, self.device, lambda tasks: each)
        self.keep("slow", "slow_optimiser", "noise", "memory")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """200 samples of every task."""
        return {"memory_total": 200 * (stream.tasks or 5)}

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        if not config.hidden:
            raise InputError(
                "hidden = [] leaves no layer for the summary; give the width of one at least"
            )
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
        return network.to(self.device)

    def build_slow(self) -> MLP:
        """Return the slow network, on the input joined with the summary."""
        config, stream = self.config, self.stream
        draws = [generator(seed, "slow weights") for seed in self.seeds]
        self.noise = Draws(self.seeds, "dropout", self.device)
        network = MLP(
            stream.inputs + config.hidden[-1],
            config.slow_hidden,
            stream.outputs,
            draws,
            layer_norm=True,
            dropout=Dropout(config.dropout, self.noise),
        )
        return network.to(self.device)

    def fast(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and summary of encoded inputs."""
        summary = self.network.features(inputs)  # type: ignore[operator]
        logits = self.network.classify(summary)  # type: ignore[operator]
        return logits.clamp(-LIMIT, LIMIT), summary

    def slow_logits(self, inputs: Tensor, summary: Tensor) -> Tensor:
        """Logits of the slow network; the summary is given, not learnt through."""
        summary = summary.detach() if self.config.summary else torch.zeros_like(summary)
        logits: Tensor = self.slow(torch.cat([inputs, summary], -1))
        return logits.clamp(-LIMIT, LIMIT)

    # -- during a task

    def begin_task(self, task: Task) -> None:
        """Draw in which steps of the task each seed replays, so that no step has to ask."""
        steps = self.config.epochs * task.steps(self.config.batch_size)
        draws = (generator(seed, "replay", task.id) for seed in self.seeds)
        chance = self.config.replay_probability
        # steps may be very many: a byte is kept of each
        replays = torch.stack([torch.rand(steps, generator=draw) < chance for draw in draws])
        self.anyone_replays = bytes(replays.any(0).numpy())
        self.replays = replays.to(self.device)

    def observe(self, batch: Batch) -> Tensor:
        step, task = batch.task.steps_done, batch.task
        slow_turn = step % task.steps(self.config.batch_size) % self.config.interval == 0
        inputs, labels, weights = self.with_replay(batch, step % self.replays.shape[1], slow_turn)
        samples = Samples(self.encode(inputs), labels, weights, task.loss_mask(labels))
        logits, summary = self.fast(samples.inputs)
        loss = weighted_mean(cross_entropies(logits, labels, samples.mask), weights)
        total = descend(loss, self.optimiser, self.config.grad_clip)
        if slow_turn:
            total = total + self.slow_step(samples, logits.detach(), summary, self.config.lam_task)
        return total

    def with_replay(
        self, batch: Batch, step: int, always: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Join the batch with replayed samples, which weigh nothing for a seed that does not replay
        now: inputs [S, B', D], labels and weights [S, B'].

        Where no seed replays the batch stays as it is, unless ``always``. Random numbers are drawn
        either way: how many a seed draws does not depend on its company.
        """
        config, (stack, count) = self.config, batch.labels.shape
        self.trained += count
        if not len(self.memory) or not config.replay_probability:
            return batch.inputs, batch.labels, None
        # seeds replay in different steps: what is counted is what they replay on average
        replayed = max(1, round(config.replay_ratio * count))
        self.trained += round(config.replay_probability * replayed)
        inputs, labels = self.remembered(replayed)
        if not (always or self.anyone_replays[step]):
            return batch.inputs, batch.labels, None
        new = torch.ones(stack, count, device=self.device)
        old = self.replays[:, step, None].expand(-1, replayed).float()
        return (
            torch.cat([batch.inputs, inputs], 1),
            torch.cat([batch.labels, labels], 1),
            torch.cat([new, old], 1),
        )

    def slow_step(self, samples: Samples, teacher: Tensor, summary: Tensor, lam: float) -> Tensor:
        """Teach the slow network by labels and, with weight ``lam``, by the fast network.

        Args:
            teacher: logits of the fast network, [S, B, C].
            summary: what the fast network makes of the inputs.
        """
        self.slow.train()
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

        It draws apart from replay, so the fast network learns the same however long this takes.
        """
        config, size = self.config, task.samples_a_step(self.config.batch_size)
        if config.replay_probability or config.consolidation_epochs:
            self.memory.end_task(task)
        with self.memory.drawing(f"consolidation/{task.id}"):
            for _ in range(config.consolidation_epochs * -(-len(self.memory) // size)):
                self.consolidate(task, size)

    def consolidate(self, task: Task, size: int) -> None:
        """One step of the slow network on as many remembered samples of each task."""
        inputs, labels = self.remembered(size)
        self.trained += size
        samples = Samples(self.encode(inputs), labels, None, task.loss_mask(labels))
        with torch.no_grad():
            teacher, summary = self.fast(samples.inputs)
        self.slow_step(samples, teacher, summary, self.config.lam_consolidation)

    def remembered(self, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels drawn from the memory, augmented where the stream augments."""
        evenly = self.config.balanced_replay
        slots = self.memory.draw_evenly(count) if evenly else self.memory.draw(count)
        inputs, labels = self.memory.gather(slots)
        return self.memory.views(inputs), labels

    @staticmethod
    def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
        return logits if mask is None else logits.masked_fill(~mask, FORBIDDEN)

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        return self.readout_logits(inputs, task_id)["slow"]

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        self.slow.eval()
        inputs = self.encode(inputs)
        logits, summary = self.fast(inputs)
        return {"slow": self.slow_logits(inputs, summary), "fast": logits}


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over a batch of each seed's losses, [S]; samples of weight 0 do not count."""
    return losses.mean(1) if weights is None else (losses * weights).sum(1) / weights.sum(1)


def distillation(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)) of each sample, [S, B]."""
    log_p, log_q = (teacher / tau).log_softmax(-1), (student / tau).log_softmax(-1)
    return tau**2 * (log_p.exp() * (log_p - log_q)).sum(-1)

"""iCaRL: incremental classifier and representation learning (Rebuffi et al. 2017).

The outputs s_c of the network are sigmoids, trained on the data of a task and on the exemplars of
earlier tasks, with

    targets t_c = s_c of the network before the task, on the same input, for old classes c,
                  1 for the label and 0 for the other classes,           for new classes c,
    L = - mean over samples of the sum over classes seen of t_c log s_c + (1 - t_c) log(1 - s_c).

After a task, herding chooses K // (classes seen) exemplars of each class. In testing the network
only provides features, phi = last hidden layer / its norm; the prediction is the class with the
nearest mean of exemplars,

    argmin_c || phi(x) - mu_c ||,   mu_c = mean of phi over exemplars of c / its norm.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from trainables.errors import InputError
from trainables.memory import HerdedMemory, bytes_needed, capacity
from trainables.nn import has_many_activations, weights_of
from trainables.rehearsal import MemoryConfigT, Rehearsal
from trainables.streams import Batch, StreamInfo, Task

# samples per seed whose features are computed at once, and with convolutions
CHUNK, CONVOLUTIONAL_CHUNK = 512, 64
FAR = 1e6  # penalty that ranks classes without exemplars last; squared distances are at most 4


class ICaRL(Rehearsal[MemoryConfigT]):
    """Distilled sigmoids, herded exemplars, nearest mean of exemplars.

    The loss sums over classes, as in van de Ven et al.; a mean, as in other implementations,
    divides the learning rate by the number of classes. Every mini-batch contains a proportional
    share of exemplars, drawn with replacement, so that an epoch uses each exemplar about once.
    Means are over the exemplars themselves; public implementations add mirror images, which are
    meaningless for digits. A class has exemplars, and can be predicted, only after its task is
    finished. The classes seen compete in the loss, regardless of the stream option
    ``active_classes``.

    Defaults: network and training of van de Ven et al. (2022), with 4 epochs as in other methods.
    """

    name = "icarl"
    reference = "Rebuffi et al. 2017, iCaRL: Incremental Classifier and Representation Learning"
    scenarios = ("task", "class")

    network: Any  # with features
    memory: HerdedMemory

    def prepare(self) -> None:
        allowed = self.allowed(self.config, self.stream)
        self.memory = HerdedMemory(self.seeds, self.stream, self.device, allowed, self.features)
        self.teacher: dict[str, Tensor] = {}  # see `weights_of`; empty during the first task
        width = self.network.width
        self.means = torch.zeros(len(self.seeds), self.stream.outputs, width, device=self.device)
        self.means_of = 0  # value of `trained` when the means were computed
        self.keep("memory", "means_of")
        self.keep("teacher", "means", kind="auxiliary")

    @classmethod
    def check(cls, config: MemoryConfigT, stream: StreamInfo) -> None:
        allowed = cls.allowed(config, stream)
        if allowed >= stream.outputs:
            return
        remedy = "increase memory_total, memory_per_task or memory_bytes"
        if config.memory_bytes is not None:
            reserved = cls.reserved_bytes(config, stream)
            least = bytes_needed(stream.outputs, stream.held_bytes, reserved)
            remedy = f"memory_bytes = {config.memory_bytes}; give {least}"
        raise InputError(
            f"a memory of {allowed} samples is too small for {stream.outputs} classes with one "
            f"exemplar each: {remedy}"
        )

    @classmethod
    def allowed(cls, config: MemoryConfigT, stream: StreamInfo) -> int:
        """Largest number of exemplars that the memory may hold."""
        return capacity(config, stream, reserved_bytes=cls.reserved_bytes(config, stream))

    @classmethod
    def reserved_bytes(cls, config: MemoryConfigT, stream: StreamInfo) -> int:
        """Bytes of past data stored besides exemplars, deducted from a budget in bytes."""
        return 0

    # -- learning

    def begin_task(self, task: Task) -> None:
        groups = [torch.zeros_like(task.outputs), *task.old_outputs]
        self.old_outputs = torch.stack(groups).any(0)
        self.outputs_seen = self.old_outputs | task.outputs
        per_batch = task.samples_per_step(self.config.batch_size) * len(self.memory) / task.size
        self.replayed = max(round(per_batch), 1)

    def observe(self, batch: Batch) -> Tensor:
        inputs, labels = batch.inputs, batch.labels
        if len(self.memory):
            old_inputs, old_labels = self.memory.sample(self.replayed)
            inputs, labels = torch.cat([inputs, old_inputs], 1), torch.cat([labels, old_labels], 1)
        logits, targets = self.logits(inputs), self.targets(inputs, labels)
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return self.descend((losses * self.outputs_seen).sum(2).mean(1))

    def targets(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the target of each output, [S, B, C]."""
        shape = (*labels.shape, self.stream.outputs)
        targets = torch.zeros(shape, device=self.device).scatter_(2, labels.unsqueeze(2), 1.0)
        if not self.teacher:
            return targets
        with torch.no_grad():
            teacher_logits = functional_call(self.network, self.teacher, (self.encode(inputs),))
        return torch.where(self.old_outputs, teacher_logits.sigmoid(), targets)

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)
        self.teacher = weights_of(self.network)
        self.update_means()

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        """Return the negative squared distance to each mean, [S, B, C], lowered by ``FAR`` for
        classes without exemplars.
        """
        if self.means_of != self.trained:
            self.update_means()
        phi, means = self.features(inputs), self.means
        squares = phi.square().sum(2, keepdim=True) + means.square().sum(2).unsqueeze(1)
        absent = self.memory.class_counts(self.stream.outputs) == 0
        # subtracted, not filled in, so that features that are not finite remain visible
        return 2 * phi @ means.mT - squares - FAR * absent.unsqueeze(1)

    @torch.no_grad()
    def features(self, inputs: Tensor) -> Tensor:
        """Return phi of inputs [S, N, D]; [S, N, F]."""
        size = CONVOLUTIONAL_CHUNK if has_many_activations(self.network) else CHUNK
        parts = torch.split(inputs, size, dim=1)
        features = [self.network.features(self.encode(part)) for part in parts]
        return F.normalize(torch.cat(features, dim=1), dim=2)

    def update_means(self) -> None:
        """Compute the mean of each class's exemplars with the current network."""
        self.means_of = self.trained
        if not len(self.memory):
            return
        phi, classes = self.features(self.memory.inputs), self.memory.classes
        sums = phi.view(*classes.shape, self.memory.share, -1).sum(2)
        means = F.normalize(sums, dim=2)
        self.means.scatter_(1, classes.unsqueeze(2).expand_as(means), means)

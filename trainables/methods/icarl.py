"""iCaRL: incremental classifier and representation learning (Rebuffi et al. 2017).

The outputs of the network are sigmoids, trained on the data of a task and on the exemplars of
earlier ones, towards

    targets t_c = sigmoid of the network before the task, on the same input, for old classes c,
                  1 for the label and 0 for the others,                      for new classes c,
    L = - mean over samples of the sum over classes seen of t_c log s_c + (1 - t_c) log(1 - s_c).

After a task, K // classes seen exemplars of each class are kept, chosen by herding. The network
only makes features, phi = last hidden layer / its norm; an input is of the class whose exemplars
have the nearest mean,

    argmin_c || phi(x) - mu_c ||,   mu_c = mean of phi over exemplars of c / its norm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from trainables.errors import InputError
from trainables.memory import HerdedMemory, at_least, capacity
from trainables.nn import MLP
from trainables.rehearsal import MemoryConfigT, Rehearsal
from trainables.streams import Batch, StreamInfo, Task

CHUNK = 512  # samples a seed whose features are computed at once
FAR = 1e6  # what keeps classes without exemplars behind all others; squared distances are up to 4


class ICaRL(Rehearsal[MemoryConfigT]):
    """Distilled sigmoids, herded exemplars, nearest mean of exemplars.

    The sum over classes is van de Ven's; a mean, as others take, divides the learning rate by the
    number of classes. The union of data and exemplars is stratified: every batch has its share of
    exemplars, drawn with replacement, so that an epoch goes about once through them. Means are of
    the exemplars as they are, not of mirror images too, as in public codes: digits have none.
    A class cannot be answered before its task is done, when it gets exemplars. The classes seen
    compete in the loss, whatever the stream's active_classes.

    Defaults: network and training of van de Ven et al. (2022), 4 epochs as in the other methods.
    """

    name = "icarl"
    reference = "Rebuffi et al. 2017, iCaRL: Incremental Classifier and Representation Learning"
    scenarios = ("task", "class")

    network: MLP
    memory: HerdedMemory

    def prepare(self) -> None:
        allowed = self.allowed(self.config, self.stream)
        self.memory = HerdedMemory(self.seeds, self.stream, self.device, allowed, self.features)
        self.teacher: dict[str, Tensor] = {}  # weights by name; none before a task is done
        width = (self.stream.inputs, *self.config.hidden)[-1]
        self.means = torch.zeros(len(self.seeds), self.stream.outputs, width, device=self.device)
        self.means_of = 0  # the network they belong to, by the samples it had trained on
        self.keep("memory", "means_of")
        self.keep("teacher", "means", kind="auxiliary")

    @classmethod
    def check(cls, config: MemoryConfigT, stream: StreamInfo) -> None:
        allowed = cls.allowed(config, stream)
        if allowed >= stream.outputs:
            return
        remedy = "raise memory_total, memory_per_task or memory_bytes"
        if config.memory_bytes is not None:
            besides = cls.bytes_besides_samples(config, stream)
            least = at_least(stream.outputs, stream.inputs + 1, besides)
            remedy = f"memory_bytes = {config.memory_bytes}; give {least}"
        raise InputError(
            f"a memory of {allowed} samples is too small for {stream.outputs} classes, one "
            f"exemplar each: {remedy}"
        )

    @classmethod
    def allowed(cls, config: MemoryConfigT, stream: StreamInfo) -> int:
        """How many exemplars the memory holds at most."""
        return capacity(config, stream, besides=cls.bytes_besides_samples(config, stream))

    @classmethod
    def bytes_besides_samples(cls, config: MemoryConfigT, stream: StreamInfo) -> int:
        """Bytes of past data that are kept besides exemplars: they come off a budget of bytes."""
        return 0

    # -- learning

    def begin_task(self, task: Task) -> None:
        old = [torch.zeros_like(task.outputs), *task.old_outputs]
        self.old = torch.stack(old).any(0)
        self.seen = self.old | task.outputs
        per_batch = task.samples_a_step(self.config.batch_size) * len(self.memory) / task.size
        self.rehearsed = max(round(per_batch), 1)

    def observe(self, batch: Batch) -> Tensor:
        inputs, labels = batch.inputs, batch.labels
        if len(self.memory):
            old_inputs, old_labels = self.memory.sample(self.rehearsed)
            inputs, labels = torch.cat([inputs, old_inputs], 1), torch.cat([labels, old_labels], 1)
        logits, targets = self.logits(inputs), self.targets(inputs, labels)
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return self.descend((losses * self.seen).sum(2).mean(1))

    def targets(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """What each output is trained towards, [S, B, C]."""
        shape = (*labels.shape, self.stream.outputs)
        targets = torch.zeros(shape, device=self.device).scatter_(2, labels.unsqueeze(2), 1.0)
        if not self.teacher:
            return targets
        with torch.no_grad():
            taught = functional_call(self.network, self.teacher, (self.encode(inputs),))
        return torch.where(self.old, taught.sigmoid(), targets)

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)
        self.teacher = {name: w.detach().clone() for name, w in self.network.named_parameters()}
        self.update_means()

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        """Return minus the squared distance to each mean, [S, B, C], far lower yet for classes
        without exemplars.
        """
        if self.means_of != self.trained:
            self.update_means()
        phi, means = self.features(inputs), self.means
        squares = phi.square().sum(2, keepdim=True) + means.square().sum(2).unsqueeze(1)
        absent = self.memory.class_counts(self.stream.outputs) == 0
        # added, not filled in, so that a seed with features that are not finite shows
        return 2 * phi @ means.mT - squares - FAR * absent.unsqueeze(1)

    @torch.no_grad()
    def features(self, inputs: Tensor) -> Tensor:
        """Phi of inputs uint8 [S, N, D]; [S, N, F]."""
        parts = torch.split(inputs, CHUNK, dim=1)
        features = [self.network.features(self.encode(part)) for part in parts]
        return F.normalize(torch.cat(features, dim=1), dim=2)

    def update_means(self) -> None:
        """Compute the mean of each class's exemplars with the network as it is."""
        self.means_of = self.trained
        if not len(self.memory):
            return
        phi, classes = self.features(self.memory.inputs), self.memory.classes
        sums = phi.view(*classes.shape, self.memory.share, -1).sum(2)
        means = F.normalize(sums, dim=2)
        self.means.scatter_(1, classes.unsqueeze(2).expand_as(means), means)

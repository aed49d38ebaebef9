"""A network of "neurons" that pass messages to the few others most similar to them (FSSG-Net)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.nn.dense import MLP, LayerNorm, Linear


class GatedNetwork(nn.Module):
    """Similarity-gated top-K routing: encode, exchange messages for some rounds, average, classify.

    An encoder gives each of N neurons a state of width d. In a round, with the same weights every
    time, a neuron attends to the K neurons (itself allowed) whose keys fit its query best, and
    updates its state by a gated recurrent unit. The mean over neurons is the summary.

    Args:
        hidden: widths of the encoder's hidden layers; the last one is also d.
        neurons, rounds, top_k: N, number of rounds, K.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        neurons: int,
        rounds: int,
        top_k: int,
    ) -> None:
        super().__init__()
        width, stack = hidden[-1], len(generators)
        self.neurons, self.rounds, self.top_k = neurons, rounds, top_k
        self.encoder = MLP(inputs, hidden, neurons * width, generators, layer_norm=True)
        self.query, self.key, self.value = (
            Linear(width, width, generators, bias=False) for _ in range(3)
        )
        self.query_norm, self.key_norm = LayerNorm(width, stack), LayerNorm(width, stack)
        self.message = Linear(width, 3 * width, generators)
        self.state = Linear(width, 3 * width, generators)
        self.readout_norm = LayerNorm(width, stack)
        self.readout = Linear(width, outputs, generators)

    def features(self, inputs: Tensor) -> Tensor:
        """Summary of each input, [S, B, d]."""
        stack, count, _ = inputs.shape
        # neurons of all samples side by side: layers see [S, B * N, d]
        states = self.encoder(inputs).view(stack, count * self.neurons, -1)
        for _ in range(self.rounds):
            states = self.updated(states, self.messages(states))
        pooled: Tensor = states.view(stack, count, self.neurons, -1).mean(2)
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.readout_norm(features))
        return logits

    def messages(self, states: Tensor) -> Tensor:
        """What each neuron hears from the K most similar ones, [S, B * N, d]."""
        stack, _, width = states.shape
        queries, keys, values = (
            part.view(stack, -1, self.neurons, width)
            for part in (
                self.query_norm(self.query(states)),
                self.key_norm(self.key(states)),
                self.value(states),
            )
        )
        similarity = queries @ keys.mT / width**0.5
        best = similarity.topk(self.top_k, dim=-1)
        weights = torch.zeros_like(similarity).scatter(-1, best.indices, best.values.softmax(-1))
        heard: Tensor = weights @ values
        return heard.view(states.shape)

    def updated(self, states: Tensor, messages: Tensor) -> Tensor:
        """One step of torch's ``GRUCell`` with the message as input."""
        reset_m, update_m, new_m = self.message(messages).chunk(3, dim=-1)
        reset_s, update_s, new_s = self.state(states).chunk(3, dim=-1)
        reset, update = (reset_m + reset_s).sigmoid(), (update_m + update_s).sigmoid()
        return torch.lerp((new_m + reset * new_s).tanh(), states, update)

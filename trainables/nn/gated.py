"""A network of "neurons" that exchange messages with the most similar neurons (FSSG-Net)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.nn.dense import MLP, LayerNorm, Linear


class GatedNetwork(nn.Module):
    """Similarity-gated top-K routing: encode, exchange messages, average, classify.

    An encoder gives each of N neurons a state of width d. In every round, with shared weights, each
    neuron attends to the K neurons with the highest key-query similarity, itself included, and
    updates its state by a gated recurrent unit. The mean over neurons is the summary.

    Args:
        hidden: widths of the encoder's hidden layers; the last width is d.
        neurons: N.
        rounds: number of message rounds.
        top_k: K.
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
        self.width = width = hidden[-1]
        stack = len(generators)
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
        """Return the summary of each input, [S, B, d]."""
        stack, count, _ = inputs.shape
        # the neurons of all samples form one axis: layers see [S, B * N, d]
        states = self.encoder(inputs).view(stack, count * self.neurons, -1)
        for _ in range(self.rounds):
            states = self.updated(states, self.messages(states))
        pooled: Tensor = states.view(stack, count, self.neurons, -1).mean(2)
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.readout_norm(features))
        return logits

    def messages(self, states: Tensor) -> Tensor:
        """Return the message each neuron receives from the K most similar ones, [S, B * N, d]."""
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
        messages: Tensor = weights @ values
        return messages.view(states.shape)

    def updated(self, states: Tensor, messages: Tensor) -> Tensor:
        """Return the states after one step of torch's ``GRUCell`` with the messages as input."""
        reset_m, update_m, new_m = self.message(messages).chunk(3, dim=-1)
        reset_s, update_s, new_s = self.state(states).chunk(3, dim=-1)
        reset, update = (reset_m + reset_s).sigmoid(), (update_m + update_s).sigmoid()
        return torch.lerp((new_m + reset * new_s).tanh(), states, update)

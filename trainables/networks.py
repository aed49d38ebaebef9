"""The network of a learner, by its option ``network``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainables.errors import InputError, reason, unknown
from trainables.nn import MLP, Members, conv, is_faster_one_by_one, one_by_one, resnet18
from trainables.rng import generator
from trainables.streams import StreamInfo

if TYPE_CHECKING:
    from trainables.learner import Training

# the options that a network has besides `hidden` and `layer_norm`, with its own defaults
OPTIONS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "conv": {"channels": (32, 64), "kernel": 3, "pooling": "max", "norm": "none"},
    "resnet18": {"channels": (20,), "norm": "batch"},
}

# increased when the results of a network change: the ledger then runs its trials again
VERSIONS = {"mlp": 1, "conv": 2, "resnet18": 1}


class Classifier(nn.Module):
    """A backbone, and a dense network on its features."""

    def __init__(self, backbone: nn.Module, head: MLP) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    @property
    def width(self) -> int:
        """Number of features: the inputs of the last layer."""
        return self.head.width

    def features(self, inputs: Tensor) -> Tensor:
        """Return the input of the last layer, [S, B, width]."""
        found: Tensor = self(inputs, features_only=True)
        return found

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits [S, B, outputs] of features."""
        return self.head.classify(features)

    def forward(self, inputs: Tensor, features_only: bool = False) -> Tensor:
        if is_faster_one_by_one(inputs):
            return one_by_one(self, inputs, features_only=features_only)
        features = self.head.features(self.backbone(inputs))
        return features if features_only else self.classify(features)


class Flat(nn.Module):
    """The inputs as features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


class Features(nn.Module):
    """The features of a network as a backbone."""

    def __init__(self, network: Members) -> None:
        super().__init__()
        self.network, self.width = network, network.width

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network.features(inputs)


def build_network(
    config: Training, stream: StreamInfo, generators: Sequence[torch.Generator]
) -> nn.Module:
    """Return the network that maps inputs [S, B, D] to logits [S, B, outputs]."""
    if config.network not in OPTIONS:
        return _members(config, stream, generators)
    backbone = build_backbone(config, stream, generators)
    hidden = () if config.network == "resnet18" else config.hidden
    head = MLP(backbone.width, hidden, stream.outputs, generators, config.layer_norm)
    return head if config.network == "mlp" else Classifier(backbone, head)


def build_backbone(
    config: Training, stream: StreamInfo, generators: Sequence[torch.Generator]
) -> Any:
    """Return the part of the network before its dense layers: a module that maps inputs [S, B, D]
    to features [S, B, width].
    """
    chosen = options(config)
    if config.network == "mlp":
        return Flat(stream.inputs)
    if config.network == "conv":
        return conv(stream.shape, generators=generators, **chosen)
    if config.network == "resnet18":
        return resnet18(stream.shape, chosen["channels"][0], chosen["norm"], generators)
    return Features(_members(config, stream, generators))


def options(config: Training) -> dict[str, Any]:
    """Return the options of a network: those given, and its own defaults."""
    given = {name: getattr(config, name) for name in OPTIONS["conv"]}
    own = OPTIONS.get(config.network, {})
    return {name: own[name] if given[name] is None else given[name] for name in own}


def check_network(config: Training, stream: StreamInfo) -> None:
    """Raise :class:`InputError` for a network that does not exist, or not with this stream."""
    network = config.network
    if network not in OPTIONS:
        function_named(network)
    own = OPTIONS.get(network, {})
    for name in OPTIONS["conv"]:
        if getattr(config, name) is not None and name not in own:
            raise InputError(f"{name} is no option of the network '{network}': remove it")
    if own and stream.image is None:
        raise InputError(
            f"network = '{network}' needs images; the samples of {stream.name} have the shape "
            f"{list(stream.shape)}: use 'mlp'"
        )
    chosen = options(config)
    channels = chosen.get("channels", ())
    if own and not channels:
        raise InputError("channels = []: give at least one number, such as [32]")
    if network == "resnet18" and len(channels) != 1:
        raise InputError(
            f"channels = {list(channels)}: give resnet18 one number, the channels of its first "
            "layers, such as [20]"
        )


def check_plain_network(config: Training, learner: str) -> None:
    """Raise :class:`InputError` for a network that a learner with layers of its own does not have:
    these are convolutions with maximum pooling, or dense layers, without normalisation.

    Args:
        learner: name of the learner.
    """
    if config.network not in ("conv", "mlp"):
        raise InputError(f"network = '{config.network}': {learner} needs 'conv' or 'mlp'")
    for name, found, needed in (
        ("norm", config.norm or "none", "none"),
        ("pooling", config.pooling or "max", "max"),
        ("layer_norm", config.layer_norm, False),
    ):
        if found != needed:
            raise InputError(f"{name} = {found!r}: {learner} needs {needed!r}, so remove it")


def stacking_obstacle(config: Any, stream: StreamInfo) -> str:
    """Return why a user's network cannot be vectorised over seeds, as on a GPU; empty if it can.

    Raises:
        InputError: if the network cannot be built, or cannot be stacked.
    """
    if ":" not in getattr(config, "network", ""):
        return ""
    return _members(config, stream, [generator(0, "weights")]).obstacle


def _members(
    config: Training, stream: StreamInfo, generators: Sequence[torch.Generator]
) -> Members:
    try:
        shape = stream.image or (stream.inputs,)
        return Members(function_named(config.network), shape, stream.outputs, generators)
    except InputError as error:
        raise InputError(f"network = '{config.network}': {error}") from None
    except Exception as error:  # of the user's code
        raise InputError(f"network = '{config.network}' failed ({reason(error)})") from error


def function_named(network: str) -> Callable[[tuple[int, ...], int], nn.Module]:
    """Return the function that builds a user's module, named ``package:function``."""
    package, _, name = network.partition(":")
    if not (package and name):
        raise InputError(
            f"network: {unknown('network', network, OPTIONS)} A network of your own is named "
            "'package:function'"
        )
    try:
        function = getattr(import_module(package), name, None)
    except ImportError as error:
        raise InputError(
            f"network = '{network}': {package} cannot be imported ({reason(error)}). Install it "
            "where the study runs, or add its folder to PYTHONPATH"
        ) from None
    except Exception as error:  # of the user's code
        raise InputError(f"network = '{network}': {package} fails ({reason(error)})") from None
    if function is None:
        raise InputError(f"network = '{network}': {package} has no function '{name}'")
    if not callable(function):
        raise InputError(f"network = '{network}' is a {type(function).__name__}, and no function")
    return function  # type: ignore[no-any-return]

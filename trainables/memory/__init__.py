"""Replay memories: what a learner keeps of past data, for every seed of its stack."""

from trainables.memory.balanced import BalancedMemory
from trainables.memory.base import Memory
from trainables.memory.budget import (
    Remembering,
    at_least,
    capacity,
    check_budget,
    share,
    share_so_far,
)
from trainables.memory.greedy import GreedyMemory
from trainables.memory.herded import HerdedMemory
from trainables.memory.reservoir import ReservoirMemory

__all__ = [
    "BalancedMemory",
    "GreedyMemory",
    "HerdedMemory",
    "Memory",
    "Remembering",
    "ReservoirMemory",
    "at_least",
    "capacity",
    "check_budget",
    "share",
    "share_so_far",
]

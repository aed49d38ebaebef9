"""Replay memories: the past data that a learner keeps, for every seed of a stack."""

from trainables.memory.balanced import BalancedMemory
from trainables.memory.base import Memory
from trainables.memory.budget import (
    Remembering,
    bytes_needed,
    capacity,
    capacity_per_task,
    check_budget,
    equal_shares,
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
    "bytes_needed",
    "capacity",
    "capacity_per_task",
    "check_budget",
    "equal_shares",
]

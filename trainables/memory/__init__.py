"""Replay memories: what a learner keeps of past data, for every seed of its stack."""

from trainables.memory.balanced import BalancedMemory
from trainables.memory.base import Memory
from trainables.memory.reservoir import ReservoirMemory

__all__ = ["BalancedMemory", "Memory", "ReservoirMemory"]

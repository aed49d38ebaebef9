"""The analysis of one study: comparisons and verdicts, sweeps, trajectories, planning."""

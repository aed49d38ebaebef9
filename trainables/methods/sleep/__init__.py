"""Learners that sleep after each task, and the baselines of their paper."""

"""Learners that sleep after a task, and what they are compared with."""

"""Dynamics: what RL does to planning and execution tokens, as numbers on plain arrays."""

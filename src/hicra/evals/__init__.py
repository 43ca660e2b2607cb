"""Benchmarks, answer checking and statistics: numbers that one can trust.

Stands beside the way from traces to reports: it imports traces only, and engines use its answer checker as the reward.
"""

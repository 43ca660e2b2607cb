"""Names that the tests and verl's processes share, without loading verl."""

ENGINE = "transformers_on_cpu"
"""Name of the rollout engine of cpu_verl.py."""

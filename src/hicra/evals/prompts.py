r"""What a model is asked: an item of a benchmark in a template.

A template is text with ``{problem}`` in it, which is the only thing that is replaced; other braces stay as they are.
"""

from __future__ import annotations

from hicra.errors import ConfigError

BOXED = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{}."
"""The instruction that Qwen's and DeepSeek's model cards give for mathematics."""

BARE = "{problem}"


def fill(template: str, problem: str) -> str:
    """The template with the problem in it.

    Raises:
        ConfigError: the template has no place for the problem, or more than one.
    """
    if template.count("{problem}") != 1:
        raise ConfigError(
            "a prompt template needs one place for the problem",
            expected="{problem}, once",
            got=f"{template.count('{problem}')} times",
        )
    before, after = template.split("{problem}")
    return before + problem + after

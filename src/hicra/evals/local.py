"""Models that transformers runs, through inspect-ai's provider ``hf``: four things that it leaves out.

**Cut-off answers.** The provider says ``stop`` of every answer. Here an answer without an end-of-sequence token is cut
off: the tokens are looked at where they are decoded, and the text is marked until it is back in `generate`.

**Sampling.** `generation_config.json` may hold a top_k, a repetition penalty and more, which transformers would apply
behind one's back; only its special tokens are kept.

**Greedy decoding.** Temperature 0 means the likeliest token; transformers wants to be told in another way.

**Base models.** Without a chat template the provider writes "user: " before the prompt; here the prompt stays bare.
"""

from __future__ import annotations

import secrets
from typing import Any

NO_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""What stands in for a chat template: the prompt as it is."""


def prepare(model: Any) -> None:
    """Change one model of inspect-ai's provider ``hf`` as said above; the provider itself stays as it is."""
    api = model.api
    if api.chat_template is None and api.tokenizer.chat_template is None:
        api.chat_template = NO_TEMPLATE
    _plain_sampling(api)
    _tell_cut_offs(api)


def _plain_sampling(api: Any) -> None:
    from transformers import GenerationConfig

    saved = api.model.generation_config
    ends = _ends(api)
    api.model.generation_config = GenerationConfig(
        bos_token_id=saved.bos_token_id, eos_token_id=ends, pad_token_id=api.tokenizer.pad_token_id
    )


def _ends(api: Any) -> list[int]:
    """Ids that end an answer: those of the model and the one of the tokenizer."""
    found = api.model.generation_config.eos_token_id
    ids = set(found if isinstance(found, (list, tuple)) else [found]) | {api.tokenizer.eos_token_id}
    return sorted(i for i in ids if i is not None)


def _tell_cut_offs(api: Any) -> None:
    import torch

    mark = "\ue000" + secrets.token_hex(16)  # a model cannot know it
    ends = torch.tensor(_ends(api))
    decode, generate = api.tokenizer.batch_decode, api.generate

    def batch_decode(sequences: Any, **settings: Any) -> list[str]:
        finished = torch.isin(sequences.cpu(), ends).any(dim=1).tolist()
        texts = decode(sequences, **settings)
        return [text if end else text + mark for text, end in zip(texts, finished, strict=True)]

    async def marked_generate(input: Any, tools: Any, tool_choice: Any, config: Any) -> Any:
        if config.temperature == 0:
            config = config.model_copy(update={"temperature": None, "top_p": None, "top_k": None})
            api.do_sample = False
        output = await generate(input, tools, tool_choice, config)
        choices = []
        for choice in output.choices:
            text = choice.message.text
            cut = text.endswith(mark)
            message = choice.message.model_copy(update={"content": text.removesuffix(mark)})
            update = {"message": message, "stop_reason": "max_tokens" if cut else "stop"}
            choices.append(choice.model_copy(update=update))
        return type(output)(model=output.model, choices=choices, usage=output.usage, time=output.time)

    api.tokenizer.batch_decode = batch_decode
    api.generate = marked_generate

"""A fast sampler for small Llama models: a static key-value cache, fused projections, and finished rows dropped from
the batch.

It reads the model's own live weights and draws from the same distribution as `model.generate(do_sample=True, top_k=0,
top_p=1)`:
log-probs agree with a teacher-forced forward to 1e-5 in float32. It exists because in a tiny model the loop around
the layers, and the rows that ended long ago, cost more than the arithmetic.

Drawing is by exponential races (Gumbel-max): argmax_v p_v / E_v with E_v ~ Exp(1) is a draw from p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from hicra.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class Samples:
    """What was drawn. Rows are padded on the right; `mask_BT` is true from the first token to the end-of-sequence
    token, inclusive.

    Attributes:
        tokens_BT: token ids, int64.
        mask_BT: which of them are real, bool.
        logprobs_BT: log-probability of each token at the sampling temperature, nats, float32, 0 where masked.
        entropies_BT: entropy of the distribution that each token was drawn from, nats, float32, 0 where masked.
    """

    tokens_BT: Tensor
    mask_BT: Tensor
    logprobs_BT: Tensor
    entropies_BT: Tensor

    def ids(self) -> list[list[int]]:
        """Ragged token ids, each row up to and including its end-of-sequence token."""
        lengths = self.mask_BT.sum(1).tolist()
        return [row[:length] for row, length in zip(self.tokens_BT.tolist(), lengths, strict=True)]


class Sampler:
    """Draws completions from a Llama without biases, adapters, rotary scaling or quantisation (the lab's, and its
    like).

    Raises:
        ConfigError: the model has a part that the fast path leaves out.
    """

    def __init__(self, model: LlamaForCausalLM) -> None:
        config = model.config
        rope = config.rope_parameters or {}
        plain = (
            config.model_type == "llama"
            and not config.attention_bias
            and not config.mlp_bias
            and config.hidden_act == "silu"
            and rope.get("rope_type", "default") == "default"
        )
        if not plain:
            raise ConfigError(
                "the fast sampler does not know this model",
                expected="a Llama with silu, default rotary embedding and no biases",
                got=f"{config.model_type}, {config.hidden_act}, {rope}, bias {config.attention_bias} {config.mlp_bias}",
                mend="use model.generate",
            )
        self.model = model

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        *,
        eos_token_id: int,
        pad_token_id: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        drop_finished: bool = True,
    ) -> Samples:
        """One completion for each prompt.

        Args:
            prompts: B lists of token ids, none empty; they may differ in length.
            max_new_tokens: where completions are cut.
            temperature: divides the logits; above 0.
            generator: source of the draws; torch's global one by default, so that a trainer's checkpointed random
                state covers it.
            drop_finished: compact the batch as rows end. False is for measuring what that is worth.
        """
        if not prompts or not all(len(prompt) for prompt in prompts):
            raise DataError(
                "nothing to complete", expected="at least one prompt, none of them empty", got=f"{len(prompts)} prompts"
            )
        if temperature <= 0:
            raise ConfigError("sampling needs a temperature above 0", got=str(temperature))
        B, longest = len(prompts), max(map(len, prompts))
        left_B = torch.tensor([longest - len(prompt) for prompt in prompts])
        ids = torch.tensor([[pad_token_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        forward = _Forward(self.model, left_B, longest + max_new_tokens)

        tokens = torch.full((B, max_new_tokens), pad_token_id)
        logprobs, entropies = torch.zeros(B, max_new_tokens), torch.zeros(B, max_new_tokens)
        rows = torch.arange(B)  # which completion each row of the working batch belongs to
        live = torch.ones(B, dtype=torch.bool)  # of those: not finished
        logits = forward.step(ids)
        for t in range(max_new_tokens):
            logp_BV = torch.log_softmax(logits / temperature, -1)
            race_BV = torch.empty_like(logp_BV).exponential_(generator=generator)
            drawn = (logp_BV - race_BV.log_()).argmax(-1)
            tokens[rows, t] = torch.where(live, drawn, pad_token_id)
            logprobs[rows, t] = logp_BV.gather(1, drawn[:, None]).squeeze(1) * live
            entropies[rows, t] = -(logp_BV.exp() * logp_BV).sum(-1) * live
            live = live & (drawn != eos_token_id)
            n_live = int(live.sum())
            if n_live == 0 or t == max_new_tokens - 1:
                break
            if drop_finished and n_live < 0.85 * rows.numel():  # compacting copies the cache: not for every single row
                keep = live.nonzero().squeeze(1)
                rows, drawn, live = rows[keep], drawn[keep], live[keep]
                forward.keep(keep)
            logits = forward.step(drawn[:, None])
        ended = (tokens == eos_token_id).int()
        mask = (ended.cumsum(1) - ended) == 0
        mask[:, t + 1 :] = False
        return Samples(tokens[:, : t + 1], mask[:, : t + 1], logprobs[:, : t + 1], entropies[:, : t + 1])


class _Forward:
    """The model's forward for one token (or one prompt) at a time over a static cache. Norm weights are folded into
    the projections.
    """

    def __init__(self, model: LlamaForCausalLM, left_B: Tensor, size: int) -> None:
        config = model.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self.embedding = model.model.embed_tokens.weight
        self.layers = [
            (
                _fold(layer.input_layernorm, layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                layer.self_attn.o_proj.weight.t().contiguous(),
                _fold(layer.post_attention_layernorm, layer.mlp.gate_proj, layer.mlp.up_proj),
                layer.mlp.down_proj.weight.t().contiguous(),
            )
            for layer in model.model.layers
        ]
        self.unembedding = _fold(model.model.norm, model.lm_head)
        angles = torch.outer(torch.arange(size).float(), self._frequencies(config.rope_parameters["rope_theta"]))
        self.cos, self.sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        shape = (len(left_B), self.kv_heads, size, self.head_dim)
        self.keys = [torch.empty(shape, dtype=self.embedding.dtype) for _ in self.layers]
        self.values = [torch.empty(shape, dtype=self.embedding.dtype) for _ in self.layers]
        self.left_B = left_B if bool(left_B.any()) else None  # how far each prompt is padded on the left
        self.position = 0

    def _frequencies(self, theta: float) -> Tensor:
        frequencies: Tensor = theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        return frequencies

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch only."""
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]
        if self.left_B is not None:
            self.left_B = self.left_B[rows]

    def step(self, ids: Tensor) -> Tensor:
        """Feed ids (B, n); returns the logits after the last of them, (B, V)."""
        B, n = ids.shape
        start, end = self.position, self.position + n
        cos, sin, allowed = self._positions(start, end)
        x = self.embedding[ids]
        width = x.size(-1)
        for i, (qkv_weight, out_weight, gate_up_weight, down_weight) in enumerate(self.layers):
            qkv = (self._norm(x).view(B * n, width) @ qkv_weight).view(B, n, -1, self.head_dim).transpose(1, 2)
            rotated = _rotate(qkv[:, : self.heads + self.kv_heads], cos, sin)
            query, keys, values = rotated[:, : self.heads], self.keys[i], self.values[i]
            keys[:, :, start:end], values[:, :, start:end] = (
                rotated[:, self.heads :],
                qkv[:, self.heads + self.kv_heads :],
            )
            attended = F.scaled_dot_product_attention(
                query,
                keys[:, :, :end],
                values[:, :, :end],
                attn_mask=allowed,
                is_causal=allowed is None and n > 1,
                enable_gqa=self.heads != self.kv_heads,
            )
            x = x + (attended.transpose(1, 2).reshape(B * n, -1) @ out_weight).view(B, n, width)
            gate, up = (self._norm(x).view(B * n, width) @ gate_up_weight).chunk(2, -1)
            x = x + ((F.silu(gate) * up) @ down_weight).view(B, n, width)
        self.position = end
        logits: Tensor = self._norm(x[:, -1]) @ self.unembedding
        return logits

    def _positions(self, start: int, end: int) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.left_B is None:
            return self.cos[start:end], self.sin[start:end], None
        columns = torch.arange(start, end)
        positions_Bn = (columns - self.left_B[:, None]).clamp_min(0)
        earlier = torch.arange(end)
        allowed = (earlier <= columns[:, None]) & (earlier >= self.left_B[:, None, None])
        allowed = allowed | (earlier == columns[:, None])  # a pad sees itself, so that no row of the softmax is empty
        return self.cos[positions_Bn][:, None], self.sin[positions_Bn][:, None], allowed[:, None]

    def _norm(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def _fold(norm: Any, *projections: Any) -> Tensor:
    """The projections side by side, transposed, with the weight of the norm before them multiplied in."""
    weights = torch.cat([projection.weight for projection in projections])
    folded: Tensor = (weights * norm.weight).t().contiguous()
    return folded


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, half-split layout."""
    half = x.size(-1) // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

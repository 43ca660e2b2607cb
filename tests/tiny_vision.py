"""Tiny random vision-language models with their processors and pictures, all made here.

transformers builds a Qwen-VL processor with one for videos too, which needs torchvision; pictures alone do not. So the
processor here is the real one with the real image processor (the variant that works on Pillow and numpy) and no video.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.families import TEXTS

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen-VL's chat template, as far as it matters here."""

MATHVISION = Path(__file__).parents[2] / "shared" / "data" / "benchmarks_mm" / "mathvision_images"


@functools.cache
def tokenizer() -> Any:
    """Byte-level BPE with Qwen-VL's special tokens; "wait" and " so" are tokens of their own."""
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*TEXTS, "wait wait wait so so"] * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left"
    )


def processor(name: str) -> Any:
    """The family's processor for text and pictures."""
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    kind = getattr(transformers, {"qwen2.5-vl": "Qwen2_5_VLProcessor", "qwen3-vl": "Qwen3VLProcessor"}[name])

    class WithoutVideo(kind):  # type: ignore[misc, valid-type]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

    patch = 14 if name == "qwen2.5-vl" else 16
    size = {"min_pixels": (2 * patch) ** 2, "max_pixels": (6 * patch) ** 2}
    return WithoutVideo(Qwen2VLImageProcessorPil(patch_size=patch, **size), tokenizer(), None, chat_template=TEMPLATE)


def make_model(name: str) -> Any:
    """Some 60,000 random parameters: a vision tower and a language model."""
    import transformers

    torch.manual_seed(0)
    torch.set_num_threads(1)
    ids = dict(zip(SPECIAL, tokenizer().convert_tokens_to_ids(SPECIAL), strict=True))
    newer = name == "qwen3-vl"
    text = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    if newer:
        text |= {"head_dim": 8}
        text["rope_parameters"] = {**text["rope_parameters"], "mrope_section": [2, 1, 1], "mrope_interleaved": True}
        vision |= {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    else:
        vision |= {"patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56}
    config, kind = (
        getattr(transformers, f"{'Qwen3VL' if newer else 'Qwen2_5_VL'}{part}")
        for part in ("Config", "ForConditionalGeneration")
    )
    return kind(
        config(
            text_config=text,
            vision_config=vision,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
            tie_word_embeddings=True,
        )
    )


def pictures(n: int, seed: int = 0) -> list[Image.Image]:
    """Drawn figures of different sizes, and two of MathVision's where they are at hand."""
    made = []
    for i in range(n):
        picture = Image.new("RGB", (60 + 10 * i, 50 + 7 * seed), (250, 250, 250))
        pen = ImageDraw.Draw(picture)
        pen.polygon([(5, 45), (50, 40), (20 + 3 * i, 5)], outline=(0, 0, 0))
        pen.ellipse((10, 10, 30 + i, 30 + i), outline=(200, 30 * i % 255, 0))
        made.append(picture)
    found = sorted(MATHVISION.glob("*.jpg"))[: min(2, n)] if MATHVISION.is_dir() else []
    for i, path in enumerate(found):
        with Image.open(path) as picture:
            made[i] = picture.convert("RGB")
    return made


def dataset(n: int = 8) -> Any:
    """One question on n pictures."""
    from datasets import Dataset

    prompts = [[{"role": "user", "content": "How many angles?"}] for _ in range(n)]
    return Dataset.from_dict({"prompt": prompts, "image": pictures(n)})

"""Where an encoder computes, and in which precision."""

from __future__ import annotations


def place_and_dtype(device: str, dtype: str) -> tuple[str, str]:
    """What ``"auto"`` stands for on this machine.

    Args:
        device: for torch, or ``"auto"``: a GPU if there is one.
        dtype: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the device computes in it.
    """
    import torch

    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return place, ("bfloat16" if _computes_bfloat16(place) else "float32") if dtype == "auto" else dtype


def _computes_bfloat16(device: str) -> bool:
    """Whether a device multiplies in bfloat16 (and does not merely store it)."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))

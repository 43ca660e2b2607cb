"""What every test session does first: offline, one thread a process, shapes checked at run time."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the session runs one worker a core
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

from jaxtyping import install_import_hook

from hicra import _shapes

_shapes.CHECKED = True
# the tensor algorithms; elsewhere annotations name things that only a type checker imports
install_import_hook("hicra.credit", "tests.check")

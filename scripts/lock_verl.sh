#!/usr/bin/env bash
# Writes locked-verl.txt anew: the environment of make test-verl. Left to itself, pip backtracks for many minutes over verl's
# bounds; in this order it has nothing to search. wandb and tensorboard, which verl asks for, are left out: no test logs there.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
rm -rf .venv-lock-verl
"$PYTHON" -m venv .venv-lock-verl
pip=(.venv-lock-verl/bin/python -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 numpy
"${pip[@]}" "ray[default]==2.60.0"
"${pip[@]}" --no-deps verl==0.9.1 TransferQueue==0.1.11 tensordict==0.10.0
"${pip[@]}" transformers==5.10.4 accelerate datasets peft torchdata hydra-core codetiming pylatexenc pybind11 cachetools pandas \
  fastapi uvicorn pillow pyzmq msgspec dill orjson importlib_metadata "pyvers<0.2"
"${pip[@]}" numba pyarrow typer rich pytest jaxtyping beartype "math-verify[antlr4_9_3]>=0.9,<0.10"
(head -2 locked-verl.txt; .venv-lock-verl/bin/python -m pip freeze --exclude-editable | sed 's/+cpu//') > locked-verl.new
mv locked-verl.new locked-verl.txt
rm -rf .venv-lock-verl

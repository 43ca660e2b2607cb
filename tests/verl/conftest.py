"""Tests of the verl engine: in an environment with verl (`make test-verl`); elsewhere they are skipped.

Ray starts once a session, with more cores than there are: verl's actors ask for some and use little.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HAS_VERL = importlib.util.find_spec("verl") is not None
if not HAS_VERL:
    collect_ignore_glob = ["test_verl_*.py"]
else:
    os.environ.setdefault("VERL_LOGGING_LEVEL", "WARN")
    os.environ["VERL_USE_EXTERNAL_MODULES"] = "hicra.engines.verl"
    # Ray's workers give way to everybody else by default
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # is its name
    with warnings.catch_warnings():  # what verl and its libraries say when they are imported is not ours
        warnings.simplefilter("ignore")
        import verl.trainer.main_ppo
        import verl.trainer.ppo.v1  # noqa: F401
    logging.getLogger("transfer_queue").setLevel("ERROR")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    import ray

    root = str(HERE.parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            num_cpus=16,
            include_dashboard=False,
            object_store_memory=200 * 2**20,
            logging_level="ERROR",
            log_to_driver=False,
        )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def queue(ray_session: None) -> Iterator[None]:
    """A transfer queue, as verl's task runner starts it."""
    import transfer_queue

    from tests.verl.tiny_verl import verl_config

    transfer_queue.init(verl_config(Path("unused")).transfer_queue)
    yield
    transfer_queue.close()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's tiny model, its tokenizer and its grams (``grams.json``)."""
    from tests.verl.tiny_verl import save_model

    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder

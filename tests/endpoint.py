"""An OpenAI-compatible endpoint on 127.0.0.1 that answers what a test says, and remembers what it was asked; and what
tests that run inspect-ai share."""

from __future__ import annotations

import gc
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = int | tuple[str, str]
"""A status that is an error, or a text and the reason to stop."""


QUIET = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""Warnings of inspect-ai and of what it stands on."""


@pytest.fixture(autouse=True)
def inspect_leaves_no_traces(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """inspect-ai's own data go into a folder of the test, and what it leaves to the garbage collector goes here."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("inspect")))
    monkeypatch.delenv("HICRA_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


class Endpoint(ThreadingHTTPServer):
    """Serves chat completions.

    Args:
        answer: called with the number of the request, from 0, and its body.
        delay: seconds that an answer takes.
    """

    daemon_threads = True

    def __init__(self, answer: Callable[[int, dict[str, Any]], Reply], delay: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.delay = answer, delay
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.served = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            number = len(server.asked)
            server.asked.append(body)
            server.keys.add(self.headers["authorization"])
        time.sleep(server.delay)
        reply = server.answer(number, body)
        status = 200 if isinstance(reply, tuple) else reply
        document: dict[str, Any] = {"error": {"message": f"this is a {status}", "type": "stub"}}
        if isinstance(reply, tuple):
            message = {"role": "assistant", "content": reply[0]}
            document = {
                "id": f"answer-{number}",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": reply[1]}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        with server.lock:
            server.served += 1


@contextmanager
def serve(answer: Callable[[int, dict[str, Any]], Reply], delay: float = 0.0) -> Iterator[Endpoint]:
    """An endpoint that runs inside the block."""
    with Endpoint(answer, delay) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def question(body: dict[str, Any]) -> str:
    """The text of the last message of a request."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)

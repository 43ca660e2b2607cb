"""What tests in a real browser share: where it is, hostile text, and how a page is shown in it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver") or shutil.which("chromedriver", path=os.environ.get("CHROMEWEBDRIVER", ""))

REQUIRED = bool(os.environ.get("HICRA_REQUIRE_BROWSER"))  # CI sets it: there a missing browser fails

NEEDS_BROWSER = [
    pytest.mark.skipif(
        not CHROMIUM and not REQUIRED, reason="no Chromium is installed (apt-get install chromium chromium-driver)"
    ),
    pytest.mark.skipif(bool(CHROMIUM) and not DRIVER and not REQUIRED, reason="Chromium is there, chromedriver is not"),
]

HOSTILE = [
    "<script>window.pwned='script'</script>",
    "</script><script>window.pwned='closed'</script>",
    "<img src=http://127.0.0.1:9/x onerror=\"window.pwned='img'\">",
    "\"'><svg onload=window.pwned='svg'>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "]]><!--",
    "</style><style>@import 'http://127.0.0.1:9/s';*{display:none}</style>",
    "a\u2028b\u2029c",
    "\u202eesrever",
    "\u2066\u200f",
    "nul\x00bell\x07",
    "javascript:window.pwned='url'",
    "{{ 7*7 }}",
    "$\\mathrm{x}$",
]
BAD = " ".join(HOSTILE)
HUGE = "W" * 3000


def show(
    driver: Any, report: Path, *, width: int = 1280, height: int = 900, dark: bool = False, media: str = "screen"
) -> None:
    driver.get_log("browser")
    driver.get_log("performance")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 500})
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
    driver.get(report.as_uri())
    driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")


def requests_of(driver: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # the browser's own first tab may still be loading; no page can open a chrome:// document
    return [request["request"]["url"] for request in sent if not request["documentURL"].startswith("chrome://")]


def embedded(driver: Any) -> dict[str, Any]:
    return dict(driver.execute_script("return JSON.parse(document.getElementById('data').textContent)"))

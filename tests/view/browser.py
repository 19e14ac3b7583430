"""A headless Chromium for tests, driven over its DevTools pipe (file descriptors 3 and 4, messages ended by NUL)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--mute-audio"),
    *("--autoplay-policy=no-user-gesture-required", "--hide-scrollbars", "--remote-debugging-pipe"),
)
KEY_CODES = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27, " ": 32, "Home": 36, "End": 35}


def find_chromium() -> str | None:
    """The browser's program, or None when there is none; CHORDFAST_CHROMIUM names another."""
    return os.environ.get("CHORDFAST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One running Chromium with one page at a time; ``complaints`` collects console errors and broken policies."""

    def __init__(self, program: str, folder: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # High numbers first: one of the pipe's ends may itself be 3 or 4.
        ends = [os.dup2(end, 200 + i) for i, end in enumerate((to_browser, from_browser))]
        script = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
        self._process = subprocess.Popen(
            [
                "/bin/bash",
                "-c",
                script,
                "bash",
                program,
                *FLAGS,
                f"--user-data-dir={folder / 'profile'}",
                "about:blank",
            ],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self._buffer = b""
        self._count = 0
        self.session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.downloads = folder / "downloads"
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one DevTools command; events that come before it are looked at."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self.session is not None and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self.session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(30.0)
            if answer is None:
                raise TimeoutError(f"no answer to {method}")
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self, seconds: float) -> dict[str, Any] | None:
        """The next message; None when there was none in time. Events are noted on the way."""
        deadline = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            data = os.read(self._in, 1 << 20)
            if not data:
                raise ConnectionError("the browser has gone")
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([a.get("value") for a in params["args"]]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, page: Path, width: int = 1280, height: int = 800, dark: bool = False, scale: float = 1.0) -> None:
        """Show a file in a fresh tab, once its load event has passed."""
        self.close_page()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._target = target
        self.complaints, self.requests = [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def close_page(self) -> None:
        if self.session is not None:
            self.call("Target.closeTarget", targetId=self._target)
            self.session = None

    def js(self, expression: str) -> Any:
        """Value of an expression in the page, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "exception"))
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 10.0) -> None:
        """Until an expression in the page is true."""
        self.until(lambda: bool(self.js(expression)), expression, seconds)

    def until(self, reached: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not reached: {what}; complaints: {self.complaints}"
            time.sleep(0.02)

    def key(self, key: str, modifiers: int = 0) -> None:
        """Press a key; modifiers: 1 alt, 2 ctrl, 4 meta, 8 shift."""
        code = KEY_CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        text = "\r" if key == "Enter" else key if len(key) == 1 and not modifiers & 7 else ""
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)
        self.frame()

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def mouse(self, *events: tuple[str, float, float], button: str = "left") -> None:
        """Mouse events one after another: ("mousePressed", x, y), "mouseMoved", "mouseReleased"."""
        held = 0
        for kind, x, y in events:
            held = {"mousePressed": 1, "mouseReleased": 0}.get(kind, held)
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=1)
        self.frame()

    def click(self, x: float, y: float) -> None:
        self.mouse(("mouseMoved", x, y), ("mousePressed", x, y), ("mouseReleased", x, y))

    def frame(self) -> None:
        """Until the page has drawn."""
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        for end in (self._in, self._out):
            os.close(end)

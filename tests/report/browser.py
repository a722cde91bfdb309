"""A headless Chromium, driven through the DevTools protocol over a pipe.

Chromium reads commands from file descriptor 3 and writes answers and events to 4, as
JSON texts that end in a zero byte (`--remote-debugging-pipe`): no port, no driver.
"""

import json
import os
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_WAIT = 60.0


def binary() -> str | None:
    """Returns where Chromium is, None without it."""
    found = (shutil.which(name) for name in _NAMES)
    return next((path for path in found if path), None)


class Browser:
    """One page of one browser; use as a context manager.

    Attributes:
      events: Everything that the browser has reported, oldest first.
    """

    def __init__(self, profile: Path):
        path = binary()
        assert path is not None
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # The numbers 3 and 4 are fixed by the browser: a shell puts the ends there,
        # from numbers above, so that neither covers the other.
        ends = [
            os.dup2(end, 50 + place) for place, end in enumerate((commands, answers))
        ]
        call = shlex.join([path, *_FLAGS, f"--user-data-dir={profile}", "about:blank"])
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec 3<&{ends[0]} 4>&{ends[1]}; exec {call}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in {commands, answers, *ends}:
            os.close(end)
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._number = 0
        self._session: str | None = None

    def __enter__(self) -> Self:
        pages = self.send("Target.getTargets")["targetInfos"]
        page = next(target for target in pages if target["type"] == "page")
        attached = self.send(
            "Target.attachToTarget", targetId=page["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._session = None
            self.send("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            os.close(self._read)
            os.close(self._write)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method}
        message["params"] = parameters
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") != self._number:
                self.events.append(answer)
                continue
            assert "error" not in answer, f"{method}: {answer['error']}"
            return answer["result"]

    def open(self, path: Path) -> None:
        """Loads a file and waits until it is there with all it loads."""
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression, awaited."""
        found = self.send(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key, as a keyboard does."""
        shared = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def resize(self, width: int, height: int = 900, *, phone: bool = False) -> None:
        """Sets the size of the window in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def media(self, scheme: str = "light", kind: str = "screen") -> None:
        """Sets the colour scheme that is preferred, and screen or print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=kind, features=features)

    def reported(self, *methods: str) -> list[dict[str, Any]]:
        """Returns the parameters of reported events of these methods."""
        return [e["params"] for e in self.events if e.get("method") in methods]

    def _receive(self) -> dict[str, Any]:
        until = time.monotonic() + _WAIT
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise TimeoutError("the browser has ended")
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

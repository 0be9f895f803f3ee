"""The report as a person sees it: in headless Chromium, on a desktop, a phone and paper."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sigdca.report import build_report
from tests.conftest import lacks

SAMPLES = Path(__file__).parents[1] / "unit" / "report" / "samples"
NAMES = ("lenet-300-100", "lenet-5", "incomplete")
DESKTOP, PHONE, PAPER = 1280, 390, 718  # CSS pixels; paper is A4 less its margins
START_S = 60
FAULTS = (
    "Log.entryAdded",
    "Runtime.exceptionThrown",
    "Runtime.consoleAPICalled",
    "Page.javascriptDialogOpening",
)

MEASURE = """({
  text: document.body.innerText, title: document.title,
  scroll: document.scrollingElement.scrollWidth, inner: innerWidth,
  background: getComputedStyle(document.body).backgroundColor,
  images: document.images.length, copy: !document.getElementById("copy").hidden,
})"""

# Text that leaves its card (a chart's labels) or its box (the loop's figures); hidden text has
# no width.
SPILLED = """(() => {
  const spilled = [];
  const check = (text, home) => {
    const a = text.getBoundingClientRect(), b = home.getBoundingClientRect();
    const out = a.left < b.left - 0.5 || a.right > b.right + 0.5;
    if (a.width && out) spilled.push(text.textContent);
  };
  for (const text of document.querySelectorAll(".plot text")) check(text, text.closest("figure"));
  for (const flow of document.querySelectorAll(".flow")) {
    let box = null;
    for (const part of flow.children) {
      if (part.matches("rect.box")) box = part;
      else if (box && part.matches("text")) check(part, box);
      else if (part.matches("text")) check(part, flow);
    }
  }
  return spilled;
})()"""

# The lowest contrast of any text with what lies behind it, by WCAG 2's formula.
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const paint = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const behind = (element) => {
    const colors = [];
    for (let e = element; e; e = e.parentElement)
      colors.unshift(getComputedStyle(e).backgroundColor);
    return colors;
  };
  let worst = [99, ""];
  const judge = (ink, ground, text) => {
    const value = contrast(paint([...ground, ink]), paint(ground));
    if (value < worst[0]) worst = [value, text];
  };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.getClientRects().length) continue;
    if (element.matches("title, desc, script")) continue;
    const style = getComputedStyle(element), grounds = [behind(element)];
    const drawn = element.matches("svg text");
    for (const zone of drawn ? element.closest("svg").querySelectorAll("rect.zone") : [])
      grounds.push([...behind(element), getComputedStyle(zone).fill]);
    for (const ground of grounds)
      judge(drawn ? style.fill : style.color, ground, element.textContent);
  }
  return worst;
})()"""


@dataclass
class Visit:
    """What one page load showed."""

    facts: dict[str, Any]
    extra: Any
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Tab:
    """A DevTools connection to one tab; notes requests and faults as they come."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.loaded = False
        self.requests: list[str] = []
        self.faults: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._next()
            if message.get("id") == number:
                assert "result" in message, f"{method}: {message}"
                result: dict[str, Any] = message["result"]
                return result

    async def open(self, url: str) -> None:
        self.loaded = False
        await self.call("Page.navigate", url=url)
        while not self.loaded:
            await self._next()

    async def value(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json(timeout=START_S)
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in FAULTS:
            self.faults.append(f"{method}: {json.dumps(params)}")
        return message


@pytest.fixture(scope="module")
def chromium() -> Iterator[int]:
    """A headless Chromium; gives the port of its DevTools."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        lacks("chromium is not installed: make browser")
    flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
    quiet = "--disable-background-networking --disable-component-update --disable-sync"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [program, *flags.split(), *quiet.split(), f"--user-data-dir={folder}"]
        with subprocess.Popen(
            [*command, "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield wait_for_port(Path(folder) / "DevToolsActivePort", process)
            finally:
                process.terminate()


def wait_for_port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"chromium ended at once with code {process.returncode}")
        if file.exists() and len(file.read_text().splitlines()) == 2:
            return int(file.read_text().splitlines()[0])
        time.sleep(0.1)
    return pytest.fail(f"chromium did not open its DevTools within {START_S} s")


def visit(
    port: int,
    page: Path,
    width: int,
    *,
    theme: str = "light",
    media: str = "",
    extra: str = "null",
) -> Visit:
    """Open `page` in a tab of its own and measure it; `extra` is evaluated in the page."""
    return asyncio.run(_visit(f"http://127.0.0.1:{port}", page, width, theme, media, extra))


async def _visit(
    devtools: str, page: Path, width: int, theme: str, media: str, extra: str
) -> Visit:
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{devtools}/json/new?about:blank") as answer:
            target = await answer.json()
        address = target["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            for domain in ("Page", "Network", "Runtime", "Log"):
                await tab.call(f"{domain}.enable")
            await tab.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=900,
                deviceScaleFactor=1,
                mobile=width == PHONE,
            )
            scheme = [{"name": "prefers-color-scheme", "value": theme}]
            await tab.call("Emulation.setEmulatedMedia", media=media, features=scheme)
            await tab.open(page.as_uri())
            seen = Visit(await tab.value(MEASURE), await tab.value(extra))
            seen.requests, seen.faults = tab.requests, tab.faults
        async with session.get(f"{devtools}/json/close/{target['id']}"):
            return seen


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def page(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "report.html"
    path.write_text(build_report(json.loads((SAMPLES / f"{name}.json").read_text())))
    return path


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_whole_quiet_and_fits(chromium: int, page: Path, width: int, theme: str) -> None:
    seen = visit(chromium, page, width, theme=theme, extra=SPILLED)
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.as_uri()]
    assert seen.faults == []
    assert seen.facts["inner"] == width
    assert seen.facts["scroll"] <= width
    assert seen.extra == []


@pytest.mark.parametrize("name", ["lenet-300-100"], indirect=True)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_main_figures_are_visible(chromium: int, page: Path, width: int) -> None:
    seen = visit(chromium, page, width)
    text = " ".join(seen.facts["text"].split())
    assert "1,066,440 → 20,985 bytes, 50.8x; error 1.45 % → 1.52 %" in text
    assert "tolerance (isa)" in text
    assert "emulation took 12.4 s (not a device time)" in text
    assert "sigdca run jobs/lenet-300-100-mnist.yaml" in text
    assert seen.facts["title"] == "lenet-300-100-mnist: sigdca report"
    assert seen.facts["copy"]


def test_dark_mode_is_dark(chromium: int, page: Path) -> None:
    light = visit(chromium, page, DESKTOP).facts["background"]
    dark = visit(chromium, page, DESKTOP, theme="dark").facts["background"]
    assert light == "rgb(244, 246, 248)"
    assert dark == "rgb(14, 19, 25)"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_text_stands_out(chromium: int, page: Path, width: int, theme: str) -> None:
    ratio, text = visit(chromium, page, width, theme=theme, extra=CONTRAST).extra
    assert ratio >= 4.5, text  # WCAG 2 level AA


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"], indirect=True)
def test_it_prints_on_white_paper(chromium: int, page: Path) -> None:
    seen = visit(chromium, page, PAPER, theme="dark", media="print", extra=SPILLED)
    assert seen.facts["scroll"] <= PAPER
    assert seen.facts["background"] == "rgba(0, 0, 0, 0)"
    assert seen.extra == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_hostile_run_can_do_nothing(chromium: int, tmp_path: Path, width: int) -> None:
    attack = (
        '</style></script><script>alert(1)</script>"\'><img src="https://e.example/x">' + "W" * 300
    )
    report = json.loads((SAMPLES / "lenet-5.json").read_text())
    for field_name in ("name", "model", "data", "command", "job"):
        report[field_name] = attack
    for group, names in (
        ("targets", ("target", "reason", "emulator")),
        ("layers", ("name", "kind")),
    ):
        for entry in report[group]:
            entry.update(dict.fromkeys(names, attack))
    for line in report["budget"]:
        line.update(note=attack, name=attack)
    for point in report["test_points"]:
        point.update(label=attack, metrics={attack: attack, "error": 1.0})
    report["versions"] = report["machine"] = {attack: attack}
    report["best"]["path"] = attack
    page = tmp_path / "hostile.html"
    page.write_text(build_report(report))
    seen = visit(chromium, page, width)
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.as_uri()]
    assert seen.faults == []
    assert seen.facts["images"] == 0
    assert seen.facts["scroll"] <= width
    assert attack in seen.facts["title"]

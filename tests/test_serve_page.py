"""The page of a server, in a real browser: what is drawn, what is asked for, and who can use it."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PIL

import heatpoint

pytest.importorskip("fastapi", reason="serving needs heatpoint[serve]")
pytest.importorskip("python_multipart", reason="serving needs heatpoint[serve]")
pytest.importorskip("prometheus_client", reason="serving needs heatpoint[serve]")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from serving import FOUND, listening

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Returns a page that notes its requests and must not complain."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.asked, wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def black(tmp_path: Path) -> Path:
    """Returns a black picture of the size of the models' inputs, which are then its pixels."""
    PIL.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "black.png")
    return tmp_path / "black.png"


def status(page: Any, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def brightness(page: Any, x: float, y: float) -> int:
    """Returns the highest channel of the canvas at a place of the picture, in its pixels."""
    return page.evaluate(
        """([x, y]) => {
          const view = document.getElementById("view"), zoom = view.width / 96;
          const place = [Math.round(x * zoom), Math.round(y * zoom), 1, 1];
          return Math.max(...view.getContext("2d").getImageData(...place).data.slice(0, 3));
        }""",
        [x, y],
    )


@pytest.mark.parametrize("finds", FOUND)
def test_what_is_found_is_drawn_and_chosen_without_another_request(
    finds: str, page: Any, black: Path
) -> None:
    what = {"points": "point", "joints": "pose"}.get(finds, "object")
    with listening(FOUND[finds]) as address:
        page.goto(address)
        page.get_by_label("Choose pictures").set_input_files(black)
        status(page, f"2 {what}s of 3 shown in black.png")
        assert brightness(page, 10, 35) > 100
        assert brightness(page, 3, 3) == 0
        page.get_by_role("img", name=f"black.png with 2 {what}s drawn in").wait_for()
        asked = len(page.asked)
        slider = page.get_by_label("Least score")
        slider.focus()
        page.keyboard.press("Home")
        status(page, f"3 {what}s of 3 shown in black.png")
        slider.fill("0.95")
        status(page, f"0 {what}s of 3 shown")
        assert brightness(page, 10, 35) == 0
        slider.fill("0.1")
        page.get_by_role("checkbox", name="red").uncheck()
        status(page, f"1 {what} of 3 shown")
        assert brightness(page, 10, 35) == 0
        page.get_by_role("button", name="None").click()
        status(page, f"0 {what}s of 3 shown")
        page.get_by_role("button", name="All").click()
        status(page, f"3 {what}s of 3 shown")
        assert page.get_by_role("row").count() == 4  # and the headings
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download as JSON").click()
        rows = json.loads(Path(saved.value.path()).read_text())
        assert saved.value.suggested_filename == "black.json"
        assert [row["score"] for row in rows] == pytest.approx([0.9, 0.5, 0.2])
        assert {row["file_name"] for row in rows} == {"black.png"}
        assert len(page.asked) == asked
        assert all(url.startswith((address, "blob:", "data:")) for url in page.asked)


def give(page: Any, kind: str, path: Path) -> None:
    """Lets somebody drop a file on the page, or paste it."""
    page.evaluate(
        """async ([kind, name, text]) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const held = new DataTransfer();
          held.items.add(new File([bytes], name, { type: "image/png" }));
          const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: held, bubbles: true })
            : new ClipboardEvent("paste", { clipboardData: held, bubbles: true });
          document.body.dispatchEvent(event);
        }""",
        [kind, path.name, base64.b64encode(path.read_bytes()).decode()],
    )


def test_pictures_come_by_dropping_pasting_and_the_camera(page: Any, black: Path) -> None:
    with listening(FOUND["boxes"]) as address:
        page.goto(address)
        page.locator("#model", has_text="finds boxes").wait_for()
        for kind in ("drop", "paste"):
            path = black.rename(black.with_name(f"{kind}.png"))
            give(page, kind, path)
            status(page, f"2 objects of 3 shown in {kind}.png")
            black = path
        page.get_by_role("button", name="Use the camera").click()
        page.get_by_role("button", name="Take a picture").wait_for()
        page.wait_for_timeout(1000)
        page.get_by_role("button", name="Take a picture").click()
        status(page, "of 3 shown in camera.png")
        page.get_by_role("button", name="Close the camera").click()
        assert page.get_by_role("group", name="Camera").is_hidden()
        names = page.get_by_role("navigation", name="Pictures").get_by_role("button")
        assert names.all_inner_texts() == ["drop.png", "paste.png", "camera.png"]
        names.first.click()
        status(page, "2 objects of 3 shown in drop.png")


def test_mistakes_are_read_out_and_a_token_is_asked_for(
    page: Any, black: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with listening(FOUND["boxes"], token="secret") as address:
        page.goto(address)
        for word, there in (("wrong", True), ("secret", False)):
            page.get_by_label("This server asks for a token").fill(word)
            page.get_by_role("button", name="Use it").click()
            page.locator("#model", has_text="waits for" if there else "finds boxes").wait_for()
            assert page.get_by_label("This server asks for a token").is_visible() == there
        page.get_by_label("Choose pictures").set_input_files([tmp_path / "text.png"])
        page.get_by_role("alert").filter(has_text="text.png is not an image in a known").wait_for()
        page.get_by_label("Choose pictures").set_input_files([black])
        status(page, "2 objects of 3 shown in black.png")
        assert page.locator("#problem").text_content() == ""


def test_the_heatmap_of_a_checkpoint_is_laid_over(page: Any, black: Path) -> None:
    detector = heatpoint.build("centernet_tiny", ["cat"])
    with listening(detector, score=0.0, size=64) as address:
        page.goto(address)
        page.get_by_label("Choose pictures").set_input_files(black)
        status(page, "shown in black.png")
        page.get_by_role("button", name="None").click()
        before = brightness(page, 50, 30)
        with page.expect_response("**/heatmap") as answer:
            page.get_by_role("checkbox", name="Show the heatmap").check()
        assert answer.value.headers["content-type"] == "image/png"
        for _ in range(100):
            if brightness(page, 50, 30) > before:
                break
            page.wait_for_timeout(100)
        assert brightness(page, 50, 30) > before


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(page: Any, black: Path) -> None:
    with listening(FOUND["boxes"]) as address:
        page.goto(address)
        page.get_by_label("Choose pictures").set_input_files(black)
        status(page, "shown in black.png")
        page.evaluate("document.activeElement.blur()")
        reached = []
        for _ in range(11):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("document.activeElement.id || document.activeElement.tagName")
            )
        classes = ["INPUT"] * 3
        wanted = ["choose", "camera", "score", "all", "none", *classes, "save", "rows", "SUMMARY"]
        assert reached == wanted


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_off(width: int, page: Any, black: Path) -> None:
    with listening(FOUND["quads"]) as address:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(address)
        page.get_by_label("Choose pictures").set_input_files(black)
        status(page, "shown in black.png")
        page.get_by_text("From a program").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_text("POST /predict").wait_for()


def luminance(colour: str) -> float:
    """Returns WCAG's relative luminance of #rrggbb."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_letters_are_told_from_their_ground() -> None:
    style = files("heatpoint.serving").joinpath("page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        light = {name: luminance(c) for name, c in re.findall(r"--([\w-]+): (#\w{6})", scheme)}

        def contrast(one: str, other: str, of: dict[str, float] = light) -> float:
            low, high = sorted((of[one], of[other]))
            return (high + 0.05) / (low + 0.05)

        for ground in ("paper", "ground"):
            for letters in ("ink", "quiet", "accent", "alarm"):
                assert contrast(letters, ground) >= 4.5, (letters, ground)
        assert contrast("on-accent", "accent") >= 4.5
        assert contrast("line", "paper") >= 3

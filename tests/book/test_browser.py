"""The built book in a real browser, from a local server: what readers see, in both themes, wide and narrow.

Skipped only where no browser is installed; METABOOK_REQUIRE_BROWSER=1 turns that, and a missing book, into failures.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import repository

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGES = sorted(str(p.relative_to(HTML)) for f in ("book", "notebooks") for p in (HTML / f).rglob("*.html"))
NOTEBOOKS = [page for page in PAGES if page.startswith("notebooks")]
WIDE, PHONE = (1400, 1000), (375, 800)


def missing(why: str) -> None:
    """Skip, or fail where a browser is required."""
    if os.environ.get("METABOOK_REQUIRE_BROWSER"):
        pytest.fail(why)
    pytest.skip(why)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the browser drops connections when it leaves a page


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the built book is served."""
    if not (HTML / "index.html").exists():
        missing("no built book: run make book first")
    with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(HTML))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    """Chromium without a window and without a network: every name but the local server's leads nowhere."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        missing("no browser: install chromium and chromedriver (Debian: chromium, chromium-driver)")
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = selenium.Chrome(options=options, service=selenium.ChromeService(executable_path=driver))
    found.set_page_load_timeout(60)
    yield found
    found.quit()


def visit(browser: Any, url: str, size: tuple[int, int] = WIDE, theme: str = "light") -> None:
    """Open ``url`` in a window of ``size`` and wait until the page and its equations are there."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    browser.get(url)
    browser.execute_async_script(
        "const done = arguments[0];"
        "const ready = window.MathJax && MathJax.startup ? MathJax.startup.promise : Promise.resolve();"
        "ready.then(() => setTimeout(done, 50), done);"
    )


def complaints(browser: Any) -> list[str]:
    """Errors and warnings of the console since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_there_are_pages(address: str) -> None:
    assert len(PAGES) >= 5
    assert NOTEBOOKS


@pytest.mark.parametrize("page", PAGES)
def test_page(browser: Any, address: str, page: str) -> None:
    """Equations are set, figures are there, nothing is fetched from elsewhere, a phone needs no sideways scroll."""
    complaints(browser)
    visit(browser, f"{address}/{page}")
    source = (HTML / page).read_text("utf-8")
    wanted = len(re.findall(r'class="math notranslate', source))
    assert browser.execute_script("return document.querySelectorAll('mjx-container').length") >= wanted
    assert browser.execute_script("return document.querySelectorAll('mjx-merror, [data-mjx-error]').length") == 0
    unseen = "[...document.querySelectorAll('article img')].filter(i => !i.complete || i.naturalWidth == 0)"
    assert browser.execute_script(f"return {unseen}.map(i => i.getAttribute('src'))") == []
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    visit(browser, f"{address}/{page}", PHONE)
    squeezed = "[...document.querySelectorAll('article img')].filter(i => i.naturalWidth && i.clientWidth > 40 &&"
    squeezed += " Math.abs(i.clientWidth * i.naturalHeight / (i.clientHeight * i.naturalWidth) - 1) > 0.1)"
    assert browser.execute_script(f"return {squeezed}.map(i => i.getAttribute('src'))") == []
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE[0], f"{page} is {width} pixels wide on a phone of {PHONE[0]}"
    assert "\n".join(complaints(browser)) == ""


def test_search_finds(browser: Any, address: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    complaints(browser)
    visit(browser, f"{address}/search.html?q=support")
    links = "return document.querySelectorAll('#search-results li a').length"
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(links) > 0)
    assert "\n".join(complaints(browser)) == ""


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_colab_and_download(browser: Any, address: str, page: str) -> None:
    """The launch button opens this notebook of this copy of the repository; the download is the notebook."""
    visit(browser, f"{address}/{page}")
    links = browser.execute_script("return [...document.querySelectorAll('a[href]')].map(a => a.href)")
    owner_and_name = "/".join(repository.current().split("/")[-2:])
    notebook = page.replace(".html", ".ipynb")
    assert f"https://colab.research.google.com/github/{owner_and_name}/blob/main/{notebook}" in links
    assert f"{repository.current()}/edit/main/{notebook}" in links
    downloads = [link for link in links if link.startswith(address) and link.endswith(".ipynb")]
    assert downloads
    assert (HTML / downloads[0].removeprefix(address + "/")).is_file()


def luminance(colour: str) -> float:
    """Relative luminance of a colour written rgb(r, g, b), after WCAG 2."""
    channels = [float(c) / 255 for c in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme(browser: Any, address: str, theme: str) -> None:
    """Text and equations stand out from the page, and figures lie on white, in both themes."""
    visit(browser, f"{address}/{NOTEBOOKS[0]}", theme=theme)
    assert browser.execute_script("return document.documentElement.dataset.theme") == theme
    colour = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    ground = luminance(browser.execute_script(colour, "body", "background-color"))
    assert (ground > 0.8) == (theme == "light")
    for selector in ("article p", "article h1", "article mjx-container", "article .highlight pre"):
        text = luminance(browser.execute_script(colour, selector, "color"))
        low, high = sorted((text, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{selector} is hard to read in the {theme} theme"
    if theme == "dark":
        card = browser.execute_script(colour, "article .cell_output img", "background-color")
        assert luminance(card) > 0.9


def test_the_theme_button_changes_the_theme(browser: Any, address: str) -> None:
    visit(browser, f"{address}/{PAGES[0]}")
    seen = set()
    for _ in range(3):
        browser.execute_script("document.querySelector('.theme-switch-button').click()")
        seen.add(browser.execute_script("return document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}


def test_copy_buttons(browser: Any, address: str) -> None:
    visit(browser, f"{address}/{NOTEBOOKS[0]}")
    assert browser.execute_script("return document.querySelectorAll('button.copybtn').length") >= 3

"""The report: one page from result folders, judged by its content and, in a browser, by its layout."""

import base64
import contextlib
import json
import math
import os
import shutil
import struct
import zlib

import pytest

from lab.cli import main
from lab.commands.formulas import statement_html
from lab.errors import InputError
from lab.report import report

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 440"><circle cx="320" cy="220" r="200"/></svg>'
LONG = "3 of 40 groups; worst: predicted 0.123456, measured 0.987654 accepts [0.98, 0.99]; repeated by fresh replicates"


def png(width, height):
    """A grey picture, written by hand."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def verdict(law, at, word="holds", **changes):
    row = {
        "law": law, "kind": "equality", "at": at, "quantity": "ratio", "index": 0, "predicted": 0.25, "measured": 0.255,
        "low": 0.24, "high": None, "judged": 40, "total": 48, "resolution": 0.031, "tolerance": 0.01,
        "tolerance_source": "statistics", "verdict": word, "expected": "holds", "reason": "",
    }  # fmt: skip
    return row | changes


def run_folder(root, study, preset, rows, *, figure="svg", **about):
    """What `lab run` leaves, made up."""
    folder = root / study.replace("/", "_") / preset
    folder.mkdir(parents=True)
    (folder / "verdicts.json").write_text(json.dumps(rows))
    about = {
        "study": study, "preset": preset, "seed": 3, "set": {}, "device": "cpu: x86_64", "time": "2026-01-01T00:00:00",
        "versions": {"python": "3.11", "lab": "0.1"}, "commit": {"hash": "0123abc", "dirty": False}, **about,
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(about))
    (folder / "figure.png").write_bytes(png(900, 300) if figure == "wide" else png(64, 44))
    if figure == "svg":
        (folder / "figure.svg").write_text(SVG)
    return folder


def check_row(law, control, word, expected, **changes):
    row = {
        "law": law, "control": control, "verdict": word, "expected": expected, "examples": 12, "judged": 30,
        "total": 36, "undecided": 1, "margin": 0.4, "resolution": None, "tolerance_source": "finite size",
        "reason": "", "seconds": 1.25,
    }  # fmt: skip
    return row | changes


@pytest.fixture
def results(tmp_path):
    """Three runs and a check, with everything that makes a page wide or odd."""
    root = tmp_path / "results"
    points = [{"width": 128, "gain": 0.1 * i, "ranks": [4, 4, 8]} for i in range(250)]
    groups = [verdict("mcr2/spinodal", at, reason=LONG if i == 2 else "") for i, at in enumerate(points)]
    run_folder(root, "mcr2/phase-diagram", "smoke", [*groups, verdict("mcr2/spinodal", None)])
    odd = verdict("nets/a-law-with-a-name-that-does-not-end-so-soon", None, "refuted", reason=LONG)
    about = {"set": {"x": "0.1:0.9:5", "note": "<b>&"}, "device": "gpu: H200"}
    run_folder(root, "nets/<script>alert(1)</script>", "default", [odd], figure="wide", **about)
    run_folder(
        root, "nets/plain", "smoke", [verdict("nets/plain", None, "undecided", expected="undecided")], figure="png"
    )
    rows = [
        check_row("mcr2/spinodal", None, "holds", "holds"),
        check_row("mcr2/spinodal", "start near zero", "refuted", "refuted"),
        check_row("nets/plain", "a control that escapes", "holds", "refuted"),
        check_row("mcr2/something-printed", None, "refuted", "refuted", reason=LONG),
    ]
    (root / "check.json").write_text(json.dumps(rows))
    return root


def test_the_page_holds_verdicts_figures_checks_and_commands(results):
    page = report(results)
    assert page == results / "index.html"
    text = page.read_text()
    assert "lab run mcr2/phase-diagram --preset smoke --seed 3" in text
    assert "--set x=0.1:0.9:5" in text
    assert "--device gpu" in text
    assert base64.b64encode(SVG.encode()).decode() in text
    assert text.count("data:image/png;base64,") == 2
    assert "250 groups, the first 200 shown" in text
    assert "50 more in" in text
    assert "a control that escapes" in text
    assert "something-printed" in text.partition("Errata: statements refuted as printed")[2]
    assert "Nonzero critical points" in text  # the statement, from the registry
    assert "<script" not in text
    assert "note=&lt;b&gt;&amp;" in text
    assert "2/3" in text.partition("verdicts of studies as expected")[0][-20:]


def test_unexpected_verdicts_are_said_first(results):
    notice = report(results).read_text().partition('class="notice"')[2].partition("</header>")[0]
    assert "is refuted" in notice
    assert "a control that escapes" in notice
    assert "mcr2/spinodal" not in notice


def test_a_large_svg_gives_way_to_the_png(results):
    folder = results / "mcr2_phase-diagram" / "smoke"
    (folder / "figure.svg").write_text(SVG.replace("/>", f"/><!-- {'x' * 500_000} -->"))
    assert "image/svg+xml" not in report(results).read_text()


def test_a_damaged_result_is_named_and_hides_nothing(results):
    (results / "nets_plain" / "smoke" / "verdicts.json").write_text('[{"law": "nets/pl')
    (results / "check.json").write_text("")
    text = report(results).read_text()
    assert "nets_plain/smoke/verdicts.json cannot be read" in text
    assert "check.json cannot be read" in text
    assert "mcr2/phase-diagram" in text


def test_a_check_alone_is_a_report(tmp_path):
    (tmp_path / "check.json").write_text(json.dumps([check_row("nets/plain", None, "holds", "holds")]))
    assert "nets/plain" in report(tmp_path).read_text()


def test_the_same_results_give_the_same_page(results):
    first = report(results).read_bytes()
    assert report(results).read_bytes() == first


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_without_results_is_answered_in_one_sentence(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "holds no results; run a study first" in err
    assert not (tmp_path / name / "index.html").exists()


def test_a_page_that_cannot_be_written(results):
    (results / "index.html.tmp").mkdir()
    with pytest.raises(InputError, match=r"index\.html cannot be written"):
        report(results)


# ---------------------------------------------------------------------- statements


def test_statements_keep_what_is_not_markup():
    text = "For ``x`` < 1, |h|^2 is u_* or tau_*.\n\n    u_+  =  1\n    u_-  <  2\n"
    assert statement_html(text) == (
        "<p>For <code>x</code> &lt; 1, |h|^2 is u_* or tau_*.</p>\n<pre>u_+  =  1\nu_-  &lt;  2</pre>"
    )


def test_formulas_become_mathml():
    pytest.importorskip("docutils", reason="formulas stay in TeX without docutils")
    made = statement_html(r"With :math:`\tfrac12 x`:" + "\n\n.. math::\n\n    \\sqrt{x}\n\nEnd.")
    assert made.count("<math") == 2
    assert "<msqrt>" in made
    assert "".join(made.split()).count("<mn>1</mn><mn>2</mn>") == 1  # one half, not twelfths
    assert made.endswith("<p>End.</p>")


def test_a_formula_that_cannot_be_read_is_shown_as_it_is():
    assert statement_html(r":math:`\nosuchcommand{x}`") == r"<p><code>\nosuchcommand{x}</code></p>"


# ---------------------------------------------------------------------- in a browser

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--no-first-run"]  # fmt: skip


def chromium():
    named = [os.environ.get("CHROMIUM"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    return next((path for path in named if path and os.access(path, os.X_OK)), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here; install one (Debian: apt-get install chromium) or name it in CHROMIUM")
    with playwright.sync_playwright() as play:
        one = play.chromium.launch(executable_path=path, args=FLAGS)
        yield one
        one.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_in_a_browser(width, scheme, results, browser):
    page = report(results)
    said, asked = [], []
    with contextlib.closing(browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)) as tab:
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        assert tab.title() == "Laws and verdicts"
        for opened in (False, True):
            tab.evaluate("open => document.querySelectorAll('details').forEach(d => d.open = open)", opened)
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"the page scrolls sideways: {wide} > {width}"
        assert tab.locator("table").count() >= 5
        loaded = tab.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
        assert loaded == [True, True, True]
        style = "getComputedStyle(document.documentElement)"
        ink, paper = tab.evaluate(f"[{style}.color, {style}.backgroundColor]")
        assert contrast(ink, paper) > 7
        for word in ("holds", "refuted", "undecided", "odd", "soft"):
            colour = tab.evaluate("name => getComputedStyle(document.querySelector('.' + name)).color", word)
            assert contrast(colour, paper) > 4.5, (word, colour)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


def contrast(one, other):
    """Contrast ratio of two colours written ``rgb(r, g, b)``, as WCAG 2 defines it."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else math.pow((part + 0.055) / 1.055, 2.4) for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)

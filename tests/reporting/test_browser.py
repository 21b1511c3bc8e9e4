"""The page in a browser: the slider moves the numbers, nothing fails, nothing is fetched."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
import torch

from duda.reporting import report
from tests.reporting.conftest import class_prediction

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs Chromium on the PATH: install the package `chromium`"
)

# Runs before all else on the page.
LISTEN = """<script>
window.problems = [];
const note = (kind) => (event) =>
  window.problems.push(`${kind}: ${event.message || event.reason || event.violatedDirective}`);
addEventListener("error", note("error"));
addEventListener("unhandledrejection", note("rejection"));
document.addEventListener("securitypolicyviolation", note("policy"));
console.error = (...words) => window.problems.push("console: " + words.join(" "));
</script>"""

# Does what a reader would do, and leaves what it saw in the page.
ACT = """<pre id="seen"></pre><script>
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const parts = ["coverage", "accepted", "ood", "refused", "guarantee", "python", "json"];
const read = () => Object.fromEntries(parts.map((name) => [name, part(name).textContent]));
const slide = (to) => {
  part("slider").value = to;
  part("slider").dispatchEvent(new Event("input"));
  return read();
};
const seen = { start: read(), label: part("slider").labels.length };
seen.none = slide(0);
seen.all = slide(part("slider").max);
seen.middle = slide(20);
part("method").value = "1";
part("method").dispatchEvent(new Event("change"));
seen.kept = read();
part("method").value = "0";
part("method").dispatchEvent(new Event("change"));
document.querySelector('[data-preset="1 % false alarms"]').click();
seen.preset = read();
part("method").value = "1";
part("method").dispatchEvent(new Event("change"));
seen.other = read();
const all = (which) => [...document.querySelectorAll(which)];
seen.pressed = all('[data-preset][aria-pressed="true"]').map((each) => each.dataset.preset);
seen.disabled = all("[data-preset]:disabled").map((each) => each.title);
seen.charts = all(".chart .main-svg").length;
const ink = () => getComputedStyle(document.querySelector(".chart .xtick text")).fill;
const widths = () =>
  all(".chart").map((each) => [each.clientWidth, each.querySelector(".main-svg").clientWidth]);
const folded = () => all("details:not([open])").length;
seen.screen = [ink(), folded()];
dispatchEvent(new Event("beforeprint"));
seen.paper = [ink(), folded()];
seen.sheet = widths();
dispatchEvent(new Event("afterprint"));
seen.after = [ink(), folded()];
seen.screened = widths();
document.querySelector("main").style.width = "340px";
dispatchEvent(new Event("resize"));
seen.narrow = widths();
document.querySelector("main").style.width = "";
dispatchEvent(new Event("resize"));
seen.width = [document.documentElement.scrollWidth, innerWidth];
seen.fetched = performance.getEntriesByType("resource").map((each) => each.name);
seen.problems = window.problems;
document.querySelector("#seen").textContent = JSON.stringify(seen);
parent.postMessage(JSON.stringify(seen), "*");
</script></body>"""

# Headless Chromium has no window below 500 pixels, but a frame may be as narrow as a phone.
PHONE = """<!doctype html><pre id="seen"></pre>
<script>addEventListener("message", (event) => (seen.textContent = event.data));</script>
<iframe src="page.html" width="360" height="800" style="border: 0"></iframe>"""

INK_ON_WHITE, INK_ON_DARK = "rgb(27, 35, 48)", "rgb(232, 236, 241)"


@pytest.fixture(scope="module")
def predictions():
    return {"one": class_prediction(0), "2": class_prediction(1)}


@pytest.fixture(scope="module", params=["desktop", "phone"])
def seen(request, predictions, tmp_path_factory):
    page = report(
        predictions,
        torch.arange(60) % 4,
        ood={"noise": {"one": class_prediction(2, 20), "2": class_prediction(3, 20)}},
        inputs=torch.rand(60, 1, 8, 8),
        classes=("a_rather_long_name_of_a_class_without_a_space", "b", "c", "d"),
    ).html()
    folder = tmp_path_factory.mktemp("browser")
    acted = page.replace("<head>", f"<head>{LISTEN}", 1).replace("</body>", ACT)
    (folder / "page.html").write_text(acted)
    (folder / "phone.html").write_text(PHONE)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [BROWSER, *flags, profile, "--window-size=1280,900", "--dump-dom"]
    opened = "page.html"
    if request.param == "phone":
        opened = "phone.html"
        command.append("--blink-settings=preferredColorScheme=0")  # dark
    done = subprocess.run(
        [*command, (folder / opened).as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(found[1])) | {"phone": request.param == "phone"}


def test_no_errors_and_no_requests(seen):
    assert seen["problems"] == []
    assert all(name.startswith(("data:", "blob:")) for name in seen["fetched"])
    assert seen["charts"] > 0


def test_the_page_is_no_wider_than_the_window(seen):
    whole, window = seen["width"]
    assert window == (360 if seen["phone"] else 1280)
    assert whole <= window


def test_it_is_printed_dark_on_white_and_unfolded(seen):
    screen = INK_ON_DARK if seen["phone"] else INK_ON_WHITE
    assert seen["screen"][0] == screen
    assert seen["screen"][1] > 0
    assert seen["paper"] == [INK_ON_WHITE, 0]
    assert seen["after"] == seen["screen"]


def test_charts_fit_the_sheet_and_then_the_screen_again(seen):
    assert max(place for place, _ in seen["sheet"]) < 680  # less than A4 or Letter in its margins
    for place, chart in seen["sheet"] + seen["screened"] + seen["narrow"]:
        assert 0 < chart == place
    assert max(place for place, _ in seen["narrow"]) < 340


def test_the_slider_has_a_label_and_moves_the_numbers(seen):
    assert seen["label"] == 1
    assert seen["none"]["coverage"] == "0.0 %"
    assert seen["none"]["refused"] == "60"
    assert seen["none"]["ood"] == "100.0 %"
    assert seen["all"]["coverage"] == "100.0 %"
    assert seen["all"]["refused"] == "0"
    assert seen["all"]["ood"] == "0.0 %"
    assert seen["middle"]["guarantee"] == "A threshold of your own carries no guarantee."


def test_a_threshold_that_was_copied_does_what_the_page_says(seen, predictions):
    for state in ("start", "middle", "preset", "all"):
        told = json.loads(seen[state]["json"])
        names = {"answer": predictions["one"]}
        exec(seen[state]["python"].splitlines()[-1], names)
        assert int(names["accepted"].sum()) == told["accepted"]
        assert seen[state]["accepted"] == f"{told['accepted']} of 60 test examples"
        wrong = predictions["one"].labels != torch.arange(60) % 4
        assert int((wrong & names["accepted"]).sum()) == told["wrong_among_accepted"]


def test_thresholds_that_are_infinite_are_copied_by_their_sign(seen):
    assert json.loads(seen["none"]["json"])["threshold"] == "-inf"
    assert seen["none"]["python"].endswith('<= float("-inf")')
    assert json.loads(seen["preset"]["json"])["threshold"] == "inf"  # 60 examples refuse nothing
    assert seen["preset"]["python"].endswith('<= float("inf")')


def test_a_gate_that_was_copied_runs_and_accepts_what_the_page_says(seen, predictions):
    for state in ("start", "preset"):
        one, labels = predictions["one"], torch.arange(60) % 4
        names = {"answer": one, "held_out": one, "y_held_out": labels}
        code = seen[state]["python"].rsplit("\n", 1)[0]  # without the bare threshold
        exec(code, names)
        assert int(names["accepted"].sum()) == json.loads(seen[state]["json"])["accepted"]


def test_a_threshold_of_ones_own_accepts_as_many_of_another_method(seen):
    one, other = (json.loads(seen[state]["json"]) for state in ("middle", "kept"))
    assert (one["method"], other["method"]) == ("one", "2")
    assert abs(one["accepted"] - other["accepted"]) <= 1
    assert other["gate"] is None


def test_presets_are_the_gates_and_stay_when_the_method_changes(seen):
    assert json.loads(seen["start"]["json"])["gate"] == "duda.Gate.keep(0.95)"
    assert "duda.Gate.false_alarm(0.01).fit(" in seen["preset"]["python"]
    assert json.loads(seen["other"]["json"])["method"] == "2"
    assert seen["pressed"] == ["1 % false alarms"]
    assert all(reason.endswith(".") for reason in seen["disabled"])

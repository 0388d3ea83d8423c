"""Every page of the offline book in Chromium: both colour modes, phone and desktop, no network."""

import json
import re
from dataclasses import dataclass

import pytest

from book import build
from tests.browser import chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="no Chromium or Chrome is installed"),
]

# Elements that stick out of the window to the right and cannot be scrolled to in a box of their own.
OVERFLOWING = """() => {
    const wide = [];
    const limit = document.documentElement.clientWidth + 1;
    for (const element of document.querySelectorAll('.bd-article-container *')) {
        const box = element.getBoundingClientRect();
        if (!box.width || !box.height || box.right <= limit) continue;
        let scrolls = false;
        for (let at = element.parentElement; at; at = at.parentElement)
            scrolls ||= ['auto', 'scroll'].includes(getComputedStyle(at).overflowX);
        if (!scrolls && !element.closest('mjx-assistive-mml'))
            wide.push(`<${element.tagName} class="${element.getAttribute('class')}"> ends at ${box.right}`);
    }
    if (document.documentElement.scrollWidth > limit) wide.push('the page itself scrolls sideways');
    return wide;
}"""

# Whether a slider's cell shows something else than when this was asked last, the slider itself apart.
CHANGED = """slider => {
    const cell = slider.closest('.cell_output');
    const stage = slider.closest('.osi-frames')?.querySelector('.osi-stage') || cell.cloneNode(true);
    const controls = '.widget-slider, .widget-play, script, style';
    if (!stage.isConnected) stage.querySelectorAll(controls).forEach(control => control.remove());
    const before = cell.drawn;
    cell.drawn = stage.innerHTML;
    return cell.drawn !== before;
}"""

# What axe-core finds serious or critical, with the elements it means.
BARRIERS = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .filter(violation => ['serious', 'critical'].includes(violation.impact))
    .map(violation => `${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 5)
        .map(node => node.target.join(' ') + ' ' + (node.any[0]?.message || '')).join('; ')}`)"""

SLIDERS = ".bd-article input[type=range], .bd-article [role=slider]"


@dataclass
class Visit:
    """What was seen while a page was open."""

    errors: list[str]
    refused: list[str]
    overflowing: list[str]
    barriers: list[str]
    theme: str
    sliders: int
    stuck: list[str]


def visit(window, address, name) -> Visit:
    """Open a page, wait until it is drawn, and move every slider from end to end by keyboard."""
    errors, (context, refused) = [], window
    refused.clear()
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("response", lambda response: response.status >= 400 and errors.append(f"missing: {response.url}"))
    page.goto(f"{address}{name}.html")
    chromium.settle(page)
    sliders = page.locator(SLIDERS).all()
    stuck = [problem for slider in sliders for problem in move(page, slider)]
    theme = page.get_attribute("html", "data-theme")
    overflowing = page.evaluate(OVERFLOWING)
    page.evaluate(chromium.axe())
    barriers = page.evaluate(BARRIERS)
    seen = Visit(errors, list(refused), overflowing, barriers, theme, len(sliders), stuck)
    page.close()
    return seen


def move(page, slider) -> list[str]:
    """Move a slider through all its positions and back; return the steps at which nothing changed."""
    name = slider.get_attribute("aria-label") or slider.evaluate("slider => slider.outerHTML")
    first, last, start = slider.evaluate(
        """slider => [slider.min ?? slider.ariaValueMin, slider.max ?? slider.ariaValueMax,
                      slider.value ?? slider.ariaValueNow].map(Number)"""
    )
    slider.focus()
    page.keyboard.press("Home")
    slider.evaluate(CHANGED)
    problems = []
    for step in range(round(last - first)):
        page.keyboard.press("ArrowRight")
        if not slider.evaluate(CHANGED):
            problems.append(f"slider {name!r}: nothing changed at step {step + 1}")
    page.keyboard.press("Home")  # another slider of the drawing may have fewer positions where this one ended
    for _ in range(round(start - first)):
        page.keyboard.press("ArrowRight")
    return problems or ([] if last > first else [f"slider {name!r} has one position only"])


@pytest.fixture(scope="module")
def browser():
    with chromium.launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(offline_book):
    with chromium.serve(offline_book) as address:
        yield address


@pytest.fixture(scope="module")
def windows(browser, address):
    """A browser window for each colour mode and device, and the list of the requests refused in it."""
    windows = {}
    for mode in chromium.MODES:
        for device, width in chromium.WIDTHS.items():
            refused = []
            windows[mode, device] = chromium.new_context(browser, mode, width, refused, address), refused
    return windows


@pytest.fixture(scope="module")
def visits():
    """The visits made so far: a page is opened once for all the tests that look at it."""
    return {}


@pytest.fixture(params=[*build.pages(), "search", "genindex"])
def name(request):
    return request.param


@pytest.fixture(params=chromium.MODES)
def mode(request):
    return request.param


@pytest.fixture(params=chromium.WIDTHS)
def device(request):
    return request.param


@pytest.fixture
def seen(windows, address, visits, name, mode, device) -> Visit:
    key = name, mode, device
    if key not in visits:
        visits[key] = visit(windows[mode, device], address, name)
    return visits[key]


def test_no_error_reaches_the_console(seen):
    assert seen.errors == []


def test_nothing_is_asked_of_the_network(seen):
    assert seen.refused == []


def test_nothing_overflows(seen):
    assert seen.overflowing == []


@pytest.mark.parametrize("name", build.pages())
def test_nothing_overflows_a_small_phone_with_wide_letters(browser, address, name):
    """Where the book's fonts are not there, others stand in, and none is as wide as these."""
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(f"{address}{name}.html")
    chromium.settle(page)
    wide = 'serif: "DejaVu Serif"', 'font: "DejaVu Sans"', 'mono: "DejaVu Sans Mono"'
    page.add_style_tag(content="".join(f"html[data-theme] {{ --osi-{font}; }}" for font in wide))
    overflowing = page.evaluate(OVERFLOWING)
    page.close()
    assert overflowing == []


def test_nothing_keeps_people_out(seen):
    assert seen.barriers == []


def test_the_page_follows_the_colour_mode(seen, mode):
    assert seen.theme == mode


def test_every_step_of_every_slider_changes_the_drawing(seen):
    assert seen.stuck == []


def test_there_are_sliders_to_move(browser, address):
    """Guards the test above: it would hold on pages without sliders too."""
    page = browser.new_page()
    for name in build.pages():
        if name.endswith("/down"):
            page.goto(f"{address}{name}.html")
            assert page.locator(SLIDERS).count() > 0, name
    page.close()


@pytest.mark.parametrize("floor, name", [(7, "task"), (5, "layer"), (1, "hardware")])
def test_a_page_leads_to_its_own_floor_of_the_elevator(windows, address, floor, name):
    """By keyboard, with the network blocked; and from the elevator back to the page."""
    page = windows["light", "desktop"][0].new_page()
    page.goto(f"{address}book/{floor}_{name}/down.html")
    link = page.locator(f'a[href$="elevator.html#floor-{floor}-{name}"]').first
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/elevator.html#*")
    chromium.settle(page)
    first = page.locator(".osi-frames:has(.osi-ride)").first
    assert first.locator("output").last.inner_text() == f"{floor} {name.title()}"
    assert first.locator("[aria-current=true] b").inner_text() == str(floor)
    assert first.locator(".osi-stage").get_attribute("aria-label").startswith(f"Floor {floor}, ")
    assert page.evaluate("scrollY") > 0
    for slider, last in (
        (first.locator("input").first, "pixel (7, 5)"),
        (first.locator("input").last, "1 Hardware"),
    ):
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
        assert slider.locator("xpath=..").locator("output").inner_text() == last
    assert first.locator(".osi-stage").get_attribute("aria-label").startswith("Floor 1, Hardware")
    assert "pixel (7, 5)" in first.locator(".osi-stage").get_attribute("aria-label")
    back = first.get_by_role("link", name=f"{floor} {name.title()}: ↓ theory")
    back.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{floor}_{name}/down.html")
    page.close()


def test_formulas_are_set(browser, address):
    page = browser.new_page()
    page.goto(f"{address}book/2_kernel/down.html")
    chromium.settle(page)
    assert page.locator("mjx-container").count() > 0
    assert page.locator("mjx-merror").count() == 0
    page.close()


# What of a printed page is wrong: pictures that are missing or cut, dark paper, and what wants to be clicked.
AMISS_IN_PRINT = """() => {
    const amiss = [], seen = element => element.checkVisibility({visibilityProperty: true});
    const article = document.querySelector('.bd-article'), right = article.getBoundingClientRect().right + 20;
    for (const frames of article.querySelectorAll('.osi-frames')) {
        const drawn = [...frames.querySelectorAll('.osi-stage > svg')].filter(seen);
        if (drawn.length !== 1) amiss.push(`${drawn.length} pictures in a frame`);
        for (const picture of drawn) {
            const box = picture.getBoundingClientRect();
            if (box.right > right || box.width < 200)
                amiss.push(`a picture from ${box.left} to ${box.right}`);
        }
    }
    const clickable = 'input, button, select, textarea, summary, [role=slider], .osi-screen, .jupyter-button';
    for (const control of document.querySelectorAll(clickable))
        if (seen(control)) amiss.push(control.outerHTML.slice(0, 99));
    for (const table of article.querySelectorAll('table'))
        if (seen(table) && table.getBoundingClientRect().right > right) amiss.push('a table is too wide');
    for (const box of article.querySelectorAll('pre, .output, .pst-scrollable-table-container'))
        if (seen(box) && box.scrollWidth > box.clientWidth + 1 &&
            getComputedStyle(box).overflowX !== 'visible')
            amiss.push(`cut: ${box.textContent.slice(0, 99)}`);
    for (const box of [document.body, ...article.querySelectorAll('.cell_output, .osi-frames')]) {
        const color = getComputedStyle(box).backgroundColor.match(/[\\d.]+/g).map(Number);
        if (color[3] !== 0 && Math.min(...color.slice(0, 3)) < 200)
            amiss.push(`dark paper: ${box.className}`);
    }
    return amiss;
}"""


@pytest.mark.parametrize("name", build.pages())
def test_on_paper_each_demo_is_one_picture_and_nothing_is_cut(browser, address, name):
    context = chromium.new_context(browser, "dark", 718, [], address)  # A4 with margins of a centimetre
    page = context.new_page()
    page.goto(f"{address}{name}.html")
    chromium.settle(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate(AMISS_IN_PRINT) == []
    context.close()


def test_nothing_moves_for_those_who_asked_for_that(browser, address):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    for name in build.pages():
        page.goto(f"{address}{name}.html")
        chromium.settle(page)
        page.mouse.wheel(0, 600)
        assert page.evaluate("document.getAnimations().length") == 0, name
        assert not any(button.is_visible() for button in page.locator(".osi-play").all()), name
    context.close()


def test_code_is_copied_by_its_button(browser, address):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{address}lessons/4_backprop.html")
    inputs = page.locator(".cell_input div.highlight")
    assert inputs.count() == inputs.locator("button.copybtn").count() > 5
    last = inputs.last
    last.hover()
    last.locator("button.copybtn").click()
    page.wait_for_selector("button.copybtn.success")
    assert page.evaluate("navigator.clipboard.readText()") == last.locator("pre").inner_text().rstrip("\n")
    context.close()


def test_search_finds_every_term_of_the_glossary(browser, address):
    text = (build.ROOT / "book/appendix/glossary.ipynb").read_text(encoding="utf-8")
    sources = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    terms = [term for source in sources for term in re.findall(r"^\*\*([^*]+)\*\*", source, re.M)]
    assert len(terms) > 50
    page = browser.new_page()
    page.goto(f"{address}search.html?q=halo")
    page.wait_for_selector("#search-results li a")
    # The pages that the search behind the field finds for a query.
    found = """query => Search._performSearch(...Search._parseQuery(query)).map(result => result[0])"""
    lost = [term for term in terms if "book/appendix/glossary" not in page.evaluate(found, term)]
    page.close()
    assert lost == []


def test_search_finds_a_page(browser, address):
    page = browser.new_page()
    page.goto(f"{address}search.html?q=halo")
    page.wait_for_selector("#search-results li a")
    page.close()


def test_the_book_opens_from_a_folder_without_a_server(browser, offline_book):
    errors = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((offline_book / "book/2_kernel/down.html").as_uri())
    chromium.settle(page)
    assert page.locator("mjx-container").count() > 0
    assert page.evaluate("document.fonts.check('16px \"Source Serif 4 Variable\"')")
    assert move(page, page.locator(SLIDERS).first) == []
    page.goto((offline_book / "search.html").as_uri() + "?q=halo")
    page.wait_for_selector("#search-results li a")
    page.close()
    assert errors == []

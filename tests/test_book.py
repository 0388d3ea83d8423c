"""The notebooks keep their format, the build notices what changed, and the built pages hang together."""

import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from book import build
from figures import stack
from figures.recordings import recordings
from minidl.instruments import style

ROOT = build.ROOT
CHAPTERS = sorted(ROOT.glob("book/**/*.ipynb"))
HANDOUTS = sorted(ROOT.glob("lessons/*.ipynb"))
SOLUTIONS = sorted(ROOT.glob("lessons/solutions/*.ipynb"))
NOTEBOOKS = [*CHAPTERS, *HANDOUTS, *SOLUTIONS]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


def each(notebooks):
    return pytest.mark.parametrize("path", notebooks, ids=name_of)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def markdown(notebook) -> str:
    """Return a notebook's text without its code: fenced blocks and `inline code` are blanked."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


# Notebooks


@each(NOTEBOOKS)
def test_the_file_is_a_valid_notebook_of_version_4_5(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@each(NOTEBOOKS)
def test_there_is_one_top_heading_and_it_comes_first(path):
    notebook = read(path)
    assert len(re.findall(r"^# ", markdown(notebook), re.M)) == 1
    assert notebook.cells[0].source.startswith("# ")


@each(CHAPTERS)
def test_chapters_are_committed_without_outputs(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, cell.source


@each(NOTEBOOKS)
def test_no_widget_state_is_committed(path):
    assert "widgets" not in read(path).metadata


@each(NOTEBOOKS)
def test_text_is_plain_markdown(path):
    """Colab and GitHub show the book builder's own directives and roles as they are typed."""
    notebook = read(path)
    fenced = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert not re.search(r"^\s*(```+|~~~+|:::+)\s*\{", fenced, re.M), "a directive"
    assert not re.search(r"\{[\w:-]+\}`", fenced), "a role"
    assert not re.search(r"^(\+\+\+|\([\w-]+\)=\s*$|% )", markdown(notebook), re.M), (
        "a MyST break, label or comment"
    )


@each(NOTEBOOKS)
def test_pictures_come_from_code(path):
    """In Colab a page has no files beside it, and offline there is no network."""
    text = markdown(read(path))
    assert not re.search(r"!\[[^\]]*\]\(|<img\b", text, re.I)


def test_every_chapter_opens_with_the_same_set_up():
    first = {}
    for path in CHAPTERS:
        code = [cell for cell in read(path).cells if cell.cell_type == "code"]
        if code:
            first.setdefault(code[0].source, []).append(name_of(path))
    assert len(first) == 1, f"different set-up cells in {list(first.values())}"
    setup = next(iter(first))
    assert build.repository() in setup and "MINIDL_SOURCE" in setup
    for path in [*HANDOUTS, *SOLUTIONS]:
        assert any(cell.source == setup for cell in read(path).cells), f"no set-up cell in {name_of(path)}"


# The table of contents


def test_the_table_of_contents_lists_exactly_the_pages_that_exist():
    assert sorted(build.pages()) == sorted(map(name_of, [*CHAPTERS, *HANDOUTS]))


def test_the_walk_goes_down_and_then_up():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    listed = {part["caption"]: [chapter["file"] for chapter in part["chapters"]] for part in parts}
    assert list(listed) == [part for part in ("Down", "Up", "Lessons", "Appendix") if part in listed]
    for caption, half in ("Down", "down"), ("Up", "up"):
        floors = [int(re.fullmatch(rf"book/(\d)_\w+/{half}", file)[1]) for file in listed[caption]]
        assert floors == sorted(floors, reverse=half == "down")


def test_the_floors_are_linked_where_they_have_pages():
    pages = {f"book/{stack.page_address(floor, half, from_index=True)}" for floor, half in stack.CHAPTERS}
    chapters = {f"{name}.html" for name in build.pages() if re.match(r"book/\d_", name)}
    assert pages == chapters


# The repository's address


def test_there_is_one_repository_address():
    name = build.repository().rpartition("/")[2]
    files = [
        *ROOT.glob("*.md"),
        ROOT / "_config.yml",
        ROOT / "pyproject.toml",
        *ROOT.glob("figures/*.py"),
        *NOTEBOOKS,
    ]
    for file in files:
        for address in re.findall(rf"github\.com/[\w-]+/{re.escape(name)}\b", file.read_text()):
            assert f"https://{address}" == build.repository(), file
    assert build.repository() == stack.REPOSITORY


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A copy of the sources, of which the build script thinks that it is the repository."""
    for name in ("book", "figures", "lessons", "minidl"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "_config.yml",
        "_toc.yml",
        "package.json",
        "pyproject.toml",
        "requirements.txt",
        "README.md",
    ):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build, "OUTPUTS", tmp_path / "_build" / "executed")
    return tmp_path


def test_set_repository_rewrites_every_mention(checkout):
    old = build.repository().removeprefix("https://")
    build.set_repository("https://github.com/someone-else/a.book.git/")
    assert build.repository() == "https://github.com/someone-else/a.book"
    for file in build.files(["*.md", "*.yml", "book", "figures", "lessons"]):
        if file.suffix != ".png":
            assert old not in file.read_text(), file
    for path in checkout.glob("book/**/*.ipynb"):
        code = [cell for cell in read(path).cells if cell.cell_type == "code"]
        assert not code or "git+https://github.com/someone-else/a.book" in code[0].source
    build.set_repository(f"https://{old}")
    for path in CHAPTERS:
        assert path.read_bytes() == (checkout / path.relative_to(ROOT)).read_bytes()


@pytest.mark.parametrize(
    "url",
    ["", "OWNER/NAME", "https://github.com/OWNER", "https://gitlab.com/a/b", "https://github.com/a/b c"],
)
def test_set_repository_refuses_what_is_no_address(checkout, url):
    with pytest.raises(build.BuildError, match="URL must look like"):
        build.set_repository(url)
    assert build.repository() == yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]


# What is built again


@pytest.fixture
def builds(checkout, monkeypatch) -> list[str]:
    """The builds made: a stand-in for Sphinx writes one page, and says whether outputs were kept."""
    made = []

    def write(target, overrides):
        kept = (build.OUTPUTS / "an-output").exists()
        (build.OUTPUTS / "an-output").touch()
        made.append("pages" if kept else "pages and outputs")
        (target / "html").mkdir(parents=True)
        (target / "html" / "index.html").write_text(str(len(made)))

    monkeypatch.setattr(build, "run_sphinx", write)
    monkeypatch.setattr(build, "print_pages", lambda folder: None)
    return made


def change(path):
    with open(path, "a") as file:
        file.write("\n")


def test_nothing_is_built_again_without_a_change(builds):
    build.build("html")
    build.build("html")
    assert builds == ["pages and outputs"]


@pytest.mark.parametrize(
    "file",
    ["minidl/kernels/ladder.py", "minidl/instruments/frames.js", "figures/stack.py", "requirements.txt"],
)
def test_notebooks_run_again_when_code_changed(checkout, builds, file):
    build.build("html")
    change(checkout / file)
    build.build("html")
    assert builds == ["pages and outputs"] * 2


@pytest.mark.parametrize(
    "file",
    [
        "_config.yml",
        "_toc.yml",
        "book/index.ipynb",
        "book/_static/book.css",
        "book/_static/early.js",
        "book/build.py",
    ],
)
def test_pages_are_written_again_from_kept_outputs_when_the_rest_changed(checkout, builds, file):
    build.build("html")
    change(checkout / file)
    build.build("html")
    assert builds == ["pages and outputs", "pages"]


def test_new_and_removed_files_are_changes(checkout, builds):
    build.build("html")
    (checkout / "figures" / "new.py").touch()
    build.build("html")
    (checkout / "figures" / "new.py").unlink()
    build.build("html")
    assert builds == ["pages and outputs"] * 3


def test_caches_are_no_changes(checkout, builds):
    build.build("html")
    (checkout / "minidl" / "__pycache__").mkdir()
    (checkout / "minidl" / "__pycache__" / "x.pyc").touch()
    (checkout / "book" / ".ipynb_checkpoints").mkdir()
    (checkout / "book" / ".ipynb_checkpoints" / "x.ipynb").touch()
    build.build("html")
    assert len(builds) == 1


def test_a_failed_build_leaves_the_last_good_book_and_is_tried_again(checkout, builds, monkeypatch):
    folder = build.build("html")
    change(checkout / "_toc.yml")

    def fail(target, overrides):
        (target / "html").mkdir(parents=True)
        raise build.BuildError("no")

    with monkeypatch.context() as patch, pytest.raises(build.BuildError):
        patch.setattr(build, "run_sphinx", fail)
        build.build("html")
    assert (folder / "index.html").read_text() == "1"
    build.build("html")
    assert (folder / "index.html").read_text() == "2"


def test_without_npm_the_offline_book_says_what_to_install(checkout, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(build.BuildError, match="npm is not installed"):
        build.build("offline")


def test_a_package_that_is_not_the_one_we_know_is_refused(checkout, monkeypatch):
    package = json.loads((checkout / "package.json").read_text())
    package["integrity"] = dict.fromkeys(package["integrity"], "sha512-something-else")
    (checkout / "package.json").write_text(json.dumps(package))

    def pack(command, cwd, **_):
        (Path(cwd) / "package.tgz").write_bytes(b"not what was asked for")
        return build.subprocess.CompletedProcess(command, 0, "package.tgz\n", "")

    monkeypatch.setattr(build.subprocess, "run", pack)
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    with pytest.raises(build.BuildError, match="is not what package"):
        build.fetch_assets()


# The built pages


@pytest.fixture(scope="module")
def soups(html_book) -> dict[str, BeautifulSoup]:
    """Every built page, parsed, by its path in the book."""
    return {
        page.relative_to(html_book).as_posix(): BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for page in sorted(html_book.rglob("*.html"))
        if "_static" not in page.parts
    }


def test_every_page_is_built(soups):
    for name in build.pages():
        assert f"{name}.html" in soups
        assert len(soups[f"{name}.html"].select("article h1")) == 1
    assert "book/index.html" in str(soups["index.html"])


def test_links_between_pages_lead_somewhere(html_book, soups):
    dead = []
    for name, soup in soups.items():
        for link in soup.select("a[href]"):
            address = urlsplit(link["href"])
            if address.scheme or address.netloc:
                continue
            target = (html_book / name).parent / unquote(address.path) if address.path else html_book / name
            target = Path(os.path.normpath(target))
            page = soups.get(target.relative_to(html_book).as_posix())
            anchor = unquote(address.fragment)
            if not target.is_file():
                dead.append(f"{name}: {link['href']} (no such file)")
            elif anchor and page and anchor != "top" and not page.find(id=anchor):
                dead.append(f"{name}: {link['href']} (no such anchor)")
    assert dead == []


def test_no_page_names_a_folder_of_the_machine_that_built_it(html_book):
    for file in [*html_book.rglob("*.html"), *html_book.rglob("*.js")]:
        text = file.read_text(encoding="utf-8")
        for folder in (str(ROOT), str(Path.home()) + "/", os.path.realpath(build.sys.prefix)):
            assert folder not in text, f"{file.relative_to(html_book)} names {folder}"


def test_tracebacks_appear_only_where_a_cell_means_them(soups):
    for path in CHAPTERS:
        meant = sum("raises-exception" in cell.metadata.get("tags", []) for cell in read(path).cells)
        page = soups.get(f"{name_of(path)}.html")
        assert page is None or page.get_text().count("Traceback (most recent call last)") <= meant, path


def test_pictures_say_what_they_show(soups):
    for name, soup in soups.items():
        for image in soup.select("article img"):
            assert len(image.get("alt", "").split()) > 2, f"{name}: {image}"
        for drawing in soup.select("article svg"):
            holder = drawing.find_parent(attrs={"role": "img"})
            assert drawing.get("aria-hidden") or (holder and len(holder["aria-label"].split()) > 2), name


def test_every_page_is_light(html_book):
    """Under 3 MB, so that it opens at once on a phone; what it loads besides is kept by the browser."""
    sizes = {name: (html_book / f"{name}.html").stat().st_size for name in build.pages()}
    assert {name: size for name, size in sizes.items() if size > 3e6} == {}


def test_every_page_opens_in_colab(soups):
    address = build.repository().replace("github.com", "colab.research.google.com/github")
    for name in build.pages():
        assert soups[f"{name}.html"].select(f'a[href="{address}/blob/main/{name}.ipynb"]'), name


def test_previous_and_next_follow_the_walk(soups):
    walk = build.pages()
    for i, name in enumerate(walk):
        for side, neighbour in (
            ("left-prev", walk[i - 1] if i else None),
            ("right-next", (*walk, None)[i + 1]),
        ):
            links = soups[f"{name}.html"].select(f".prev-next-area a.{side}")
            leads = [os.path.normpath(Path(name).parent / link["href"]) for link in links]
            assert leads == ([f"{neighbour}.html"] if neighbour else []), (name, side)


def test_the_build_ends_with_a_table_of_pages(html_book, capsys):
    build.print_pages(html_book)
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert list(rows)[1:] == build.pages()
    for name in build.pages():
        size = (html_book / f"{name}.html").stat().st_size
        assert rows[name].endswith(f" {size / 1e3:,.0f} kB")
        ran = re.search(r" [\d.]+ s ", rows[name])
        assert bool(ran) == (name.startswith("book/") and name != "book/appendix/references"), rows[name]


def test_every_record_is_drawn_on_the_page_of_benchmarks(soups):
    page = soups["book/appendix/benchmarks.html"]
    drawn = [stage["aria-label"] for stage in page.select("article .osi-stage")]
    found = recordings()
    assert {one.file for one in found} == {path.name for path in (ROOT / "figures/records").glob("*.json")}
    for one in found:
        shown = BeautifulSoup(one.show()._repr_html_(), "html.parser")
        assert one.file in page.get_text()
        for stage in shown.select(".osi-stage"):
            assert stage["aria-label"] in drawn, one.file


def test_pages_carry_the_palette(html_book):
    assert (html_book / "_static" / "palette.css").read_text() == style.css()


def test_only_pages_with_widgets_load_the_widget_manager(soups):
    for name, soup in soups.items():
        has_widgets = bool(soup.select('script[type="application/vnd.jupyter.widget-view+json"]'))
        loads = any("html-manager" in script["src"] for script in soup.select("script[src]"))
        assert loads == has_widgets, name


def test_the_offline_book_loads_nothing_from_elsewhere(offline_book):
    for file in offline_book.rglob("*.html"):
        soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        loaded = [tag.get("src") or tag.get("href") for tag in soup.select("[src], link[href]")]
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], file

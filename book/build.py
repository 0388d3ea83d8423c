"""Builds the book: runs its notebooks, writes the pages, serves them. The Makefile calls it.

Sphinx looks at the notebooks alone and keeps stale pages when the code behind them changes, a style sheet or
a setting. So this script decides what is done by fingerprints, hashes of the files a thing was made from:

    the code changed           every notebook runs again
    a notebook's code changed  that notebook runs again
    anything changed           every page is written again, from outputs kept
    nothing changed            nothing is done
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
OUTPUTS = BUILD / "executed"  # what the notebooks printed and drew, shared by both kinds of book

#: What the outputs of a notebook depend on, besides the notebook.
CODE = ("minidl", "figures", "lessons/*.py", "pyproject.toml", "requirements.txt")
#: What a page depends on.
SOURCES = (*CODE, "_config.yml", "_toc.yml", "package.json", "book", "lessons")

#: npm package → the files that pages load from it, and those that these load in turn (or that must be shown).
ASSETS = {
    "requirejs": (["require.js"], ["package.json"]),
    "@jupyter-widgets/html-manager": (["dist/embed-amd.js"], ["package.json"]),
    "mathjax": (["es5/tex-chtml-full.js"], ["es5/output/chtml/fonts/woff-v2/*.woff", "LICENSE"]),
    "@fontsource-variable/source-serif-4": (["wght.css", "wght-italic.css"], ["files/*-wght-*", "LICENSE"]),
    "@fontsource-variable/source-sans-3": (["wght.css"], ["files/*-wght-normal*", "LICENSE"]),
    "@fontsource-variable/source-code-pro": (["wght.css"], ["files/*-wght-normal*", "LICENSE"]),
}
CDN = "https://cdn.jsdelivr.net/npm/"


class BuildError(Exception):
    """Something stands in the way of the build; the message says what, and what to do."""


def files(patterns: Iterable[str]) -> Iterator[Path]:
    """Yield the files that the patterns name, in order; a folder stands for everything in it."""
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            found = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in found:
                parts = file.relative_to(ROOT).parts
                hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
                if file.is_file() and not hidden:
                    yield file


def fingerprint(patterns: Iterable[str]) -> str:
    """Return a hash of the named files' paths and contents, and of the Python that runs."""
    digest = hashlib.sha256(sys.version.encode())
    for file in files(patterns):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def pages() -> list[str]:
    """Return the pages that `_toc.yml` lists, in its order, as paths without a suffix."""
    return re.findall(r"^\s*(?:- file|root): *(\S+)$", (ROOT / "_toc.yml").read_text(), re.M)


@contextmanager
def one_build_at_a_time():
    """Wait until no other process builds in this folder."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another build is running here; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(kind: str) -> Path:
    """Build the book into `_build/html` or `_build/offline`, unless it is up to date; return its folder."""
    folder, made_from = BUILD / kind, BUILD / f"{kind}.fingerprint"
    with one_build_at_a_time():
        sources = fingerprint(SOURCES)
        if (folder / "index.html").exists() and made_from.exists() and made_from.read_text() == sources:
            print(f"Nothing has changed since {folder.relative_to(ROOT)} was built.")
            return folder
        forget_stale_outputs()
        write_palette()
        if kind == "offline":
            fetch_assets()
        made_from.unlink(missing_ok=True)
        # Built elsewhere and then moved, so that a build that fails leaves the last good book in its place.
        unfinished = BUILD / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        run_sphinx(unfinished, settings(kind))
        shutil.rmtree(folder, ignore_errors=True)
        (unfinished / "html").rename(folder)
        shutil.rmtree(unfinished)
        made_from.write_text(sources)
    print_pages(folder)
    return folder


def forget_stale_outputs() -> None:
    """Throw the notebooks' outputs away if the code that made them has changed."""
    made_from, code = OUTPUTS / "code.fingerprint", fingerprint(CODE)
    if not made_from.exists() or made_from.read_text() != code:
        shutil.rmtree(OUTPUTS, ignore_errors=True)
        OUTPUTS.mkdir(parents=True)
        made_from.write_text(code)


def write_palette() -> None:
    """Write the style sheet with the book's colours, of which minidl.instruments.style is the one source."""
    from minidl.instruments import style

    (BUILD / "static").mkdir(exist_ok=True)
    (BUILD / "static" / "palette.css").write_text(style.css(), encoding="utf-8")


def settings(kind: str) -> dict:
    """Return the settings that differ between the two kinds of book: where scripts and fonts come from."""
    package = json.loads((ROOT / "package.json").read_text())
    online = kind != "offline"

    def addresses(name: str) -> list[str]:
        base = f"{CDN}{name}@{package['dependencies'][name]}" if online else f"npm/{name}"
        return [f"{base}/{file}" for file in ASSETS[name][0]]

    fonts = [address for name in ASSETS if "font" in name for address in addresses(name)]
    # A reader whose network is slow or gone sees the page at once, in fonts of their own.
    late = {"media": "print", "onload": "this.media='all'"} if online else {}
    require, manager = addresses("requirejs")[0], addresses("@jupyter-widgets/html-manager")[0]
    return {
        "html_static_path": ["book/_static", "_build/static"] + ([] if online else ["_build/assets"]),
        "html_css_files": [(font, late) for font in fonts] + ["palette.css", "book.css"],
        "mathjax_path": addresses("mathjax")[0],
        # Order matters: the second needs the first. Pages without widgets load neither.
        "nb_ipywidgets_js": {require: {}, manager: {"data-jupyter-widgets-cdn": CDN} if online else {}},
        "nb_execution_cache_path": str(OUTPUTS),
    }


def run_sphinx(target: Path, overrides: dict) -> None:
    """Write every page into `target/html`; any warning is an error, after all have been shown."""
    from jupyter_book.sphinx import build_sphinx
    from jupyter_client.manager import KernelManager
    from sphinx.builders.html import StandaloneHTMLBuilder
    from sphinx.util.console import nocolor

    StandaloneHTMLBuilder.epilog = ""  # would name a folder that is about to be moved
    KernelManager.transport_encryption.default_value = "required"  # or every kernel prints a warning
    os.environ.pop("JPY_SESSION_NAME", None)  # in a build from Jupyter, pages must not link as in Jupyter
    if not sys.stdout.isatty():
        nocolor()
    overrides = {**overrides, "external_toc_path": str(ROOT / "_toc.yml"), "latex_individualpages": False}
    result = build_sphinx(
        ROOT,
        target / "html",
        doctreedir=target / "doctrees",
        noconfig=True,  # no conf.py: everything is in _config.yml
        path_config=ROOT / "_config.yml",
        confoverrides={
            **overrides,
            "external_toc_path": str(ROOT / "_toc.yml"),
            "latex_individualpages": False,
        },
        warningiserror=True,
        keep_going=True,
    )
    if result != 0:
        raise BuildError("the book was not built; the warnings above say why")


def print_pages(folder: Path) -> None:
    """Print how long each page's code ran and how large the page is."""
    from jupyter_cache import get_cache

    seconds = {}
    for record in sorted(get_cache(OUTPUTS).list_cache_records(), key=lambda record: record.created):
        seconds[record.uri] = record.data.get("execution_seconds")
    print(f"\n{'page':<44}{'code ran':>10}{'size':>12}")
    for name in pages():
        ran = seconds.get(str(ROOT / f"{name}.ipynb"))
        size = (folder / f"{name}.html").stat().st_size
        print(f"{name:<44}{'–' if ran is None else f'{ran:.1f} s':>10}{size / 1e3:>9,.0f} kB")


def fetch_assets() -> None:
    """Copy what pages load from npm packages into `_build/assets`, unless it is there."""
    package = json.loads((ROOT / "package.json").read_text())
    target = BUILD / "assets"
    made_from, wanted = BUILD / "assets.fingerprint", fingerprint(["package.json", "book/build.py"])
    if not made_from.exists() or made_from.read_text() != wanted:
        made_from.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        for name, version in package["dependencies"].items():
            needed = [*ASSETS[name][0], *ASSETS[name][1]]
            unpack(name, version, package["integrity"][name], needed, target / "npm" / name)
        made_from.write_text(wanted)


def unpack(name: str, version: str, integrity: str, needed: list[str], target: Path) -> None:
    """Download one npm package, check that it is the one we know, and unpack what we need of it."""
    npm = shutil.which("npm")
    if npm is None:
        raise BuildError(
            "`make offline` takes scripts and fonts from npm packages, and npm is not installed here: "
            "install Node.js (on Debian: apt-get install npm) and try again. `make book` does not need it"
        )
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--silent", f"{name}@{version}"]
        result = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        if result.returncode != 0:
            raise BuildError(f"npm could not fetch {name} {version}:\n{result.stderr or result.stdout}")
        archive = Path(scratch) / result.stdout.split()[-1]
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != integrity:
            raise BuildError(f"{name} {version} is not what package.json expects: {digest}, not {integrity}")
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                path = Path(*Path(member.name).parts[1:])
                if member.isfile() and any(path.match(pattern) for pattern in needed):
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    (target / path).write_bytes(tar.extractfile(member).read())
    for pattern in needed:
        if not any(target.glob(pattern)):
            raise BuildError(f"{name} {version} has no {pattern}")


def serve(port: int) -> None:
    """Build the book and serve it to this machine's browsers until interrupted."""
    folder = build("html")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise BuildError(
            f"port {port} cannot be used ({error.strerror}); try make serve PORT={port + 1}"
        ) from error
    with server:
        print(
            f"\nThe book is at http://127.0.0.1:{server.server_port}/ (Ctrl+C stops the server)", flush=True
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def repository() -> str:
    """Return the repository's address, of which `_config.yml` is the one source."""
    return re.search(r"^repository:\n\s+url: (\S+)$", (ROOT / "_config.yml").read_text(), re.M)[1]


def set_repository(url: str) -> None:
    """Write another repository address wherever this one stands."""
    url = url.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", url):
        raise BuildError(
            f"URL must look like https://github.com/OWNER/NAME (Colab reads GitHub only), got {url!r}"
        )
    old = repository().removeprefix("https://github.com/")
    new = url.removeprefix("https://github.com/")
    # Also as part of Colab's addresses: https://colab.research.google.com/github/OWNER/NAME/…
    address = re.compile(rf"(github\.com/|google\.com/github/){re.escape(old)}(?![\w-])")
    for file in files(["*.md", "*.yml", "*.toml", "*.cff", "book", "figures", "lessons", "minidl"]):
        if file.suffix in {".md", ".yml", ".toml", ".cff", ".py", ".ipynb"}:
            text = file.read_text(encoding="utf-8")
            if address.search(text):
                file.write_text(address.sub(rf"\g<1>{new}", text), encoding="utf-8")
                print(file.relative_to(ROOT))


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("html", help="build the book")
    commands.add_parser("offline", help="build the book that needs no network to be read")
    commands.add_parser("serve", help="serve the book").add_argument("--port", type=int, default=8000)
    commands.add_parser("set-repository", help="change the repository's address").add_argument("url")
    arguments = parser.parse_args()
    try:
        if arguments.command == "serve":
            serve(arguments.port)
        elif arguments.command == "set-repository":
            set_repository(arguments.url)
        else:
            folder = build(arguments.command)
            print(f"\nOpen {folder / 'index.html'}")
    except BuildError as error:
        sys.exit(f"\n{error}.")


if __name__ == "__main__":
    main()

"""Everything in figures/records, whatever it is: read, listed with where it comes from, and drawn.

for recording in recordings():
    recording.file, recording.devices, recording.date
    recording.show()                # drawings and tables, as HTML
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, replace
from importlib import resources

from figures import all_reduces, gantt
from minidl.graph.distributed.timeline import from_rows
from minidl.instruments.stopwatch import Table, Timings, time_text
from minidl.instruments.style import SERIES, describe, drawing, new_figure
from minidl.instruments.widgets import frames, picture


@dataclass(frozen=True)
class Html:
    """A piece of HTML that shows itself."""

    text: str

    def _repr_html_(self) -> str:
        return self.text


@dataclass(frozen=True)
class Recording:
    """One measurement that the book brings along.

    Attributes
    ----------
    file : str
        Its name in figures/records.
    what : str
        What was measured, in a word or two.
    about : dict
        Devices, date, versions and method, as `stopwatch.provenance` gives them.
    content : dict
        All of it.
    """

    file: str
    what: str
    about: dict
    content: dict

    @property
    def devices(self) -> str:
        """What it was measured on."""
        return " and ".join(map(str, (self.about.get("devices") or {}).values())) or "not noted"

    @property
    def date(self) -> str:
        """When."""
        return str(self.about.get("date") or "not noted")

    @property
    def method(self) -> str:
        """How."""
        return str(self.about.get("method") or "not noted")

    @property
    def versions(self) -> str:
        """With which versions, and at which commit where that is known."""
        versions = [f"{name} {version}" for name, version in (self.about.get("versions") or {}).items()]
        for name in ("driver", "commit"):
            if self.about.get(name):
                versions.append(f"{name} {self.about[name]}")
        return ", ".join(versions) or "not noted"

    def on(self, device: str) -> bool:
        """Return whether any time in it was measured on "cpu" or "cuda"."""
        if "results" in self.content:
            return any(result["device"] == device and result["seconds"] for result in self.content["results"])
        return device in (self.about.get("devices") or {})

    def show(self) -> Html:
        """Return drawings and tables of it, under its name."""
        try:
            parts = _show(self)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            parts = [_line(f"it is of a form that this page cannot draw ({type(error).__name__}: {error})")]
        head = f"<p><strong>{html.escape(self.what)}</strong>, {html.escape(self.file)}</p>"
        where = (
            f"recorded: {self.devices}, {self.date}; method: {self.method}.",
            f"versions: {self.versions}.",
        )
        return Html(head + "".join(parts) + "".join(map(_line, where)))


def recordings(folder=None) -> list[Recording]:
    """Return every measurement in a folder of records, by default the book's, in the order of the files.

    A file that is no JSON, or holds nothing that is known, is one recording that says so: nothing is left out
    silently.
    """
    folder = resources.files("figures").joinpath("records") if folder is None else folder
    files = [file for file in folder.iterdir() if file.name.endswith(".json")] if folder.is_dir() else []
    found = []
    for file in sorted(files, key=lambda file: file.name):
        try:
            content = json.loads(file.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            content = None
        for one in content if isinstance(content, list) else [content]:
            one = one if isinstance(one, dict) else {}
            about = one.get("provenance") or one.get("about")
            found.append(Recording(file.name, _what(one), about if isinstance(about, dict) else {}, one))
    return found


def overview(found) -> Table:
    """Return one row for each recording: what, on what, when, and the file it stands in."""
    rows = tuple((one.what, one.devices, one.date, one.file) for one in found)
    return Table(("measured", "on", "when", "file"), rows, "" if rows else "There is no record.")


def coverage(found, ladders) -> Table:
    """Return, for each ladder, on which processors and on which GPUs it has been recorded."""
    rows = []
    for ladder in ladders:
        row = [ladder]
        for device in ("cpu", "cuda"):
            names = {
                str((one.about.get("devices") or {}).get(device, "?"))
                for one in found
                if one.content.get("ladder") == ladder and one.on(device)
            }
            row.append(", ".join(sorted(names)) or "missing")
        rows.append(tuple(row))
    missing = [sum(row[i] == "missing" for row in rows) for i in (1, 2)]
    caption = f"missing: {missing[0]} of {len(rows)} on a processor, {missing[1]} of {len(rows)} on a GPU."
    return Table(("ladder", "recorded on the processor", "recorded on the GPU"), tuple(rows), caption)


def _what(content) -> str:
    if "ladder" in content:
        return str(content["ladder"])
    if "all-reduce" in content:
        return "ranks"
    if isinstance(content.get("printed"), dict):
        return "what cells printed"
    if isinstance(content.get("runs"), dict):
        return f"runs of {', '.join(content['runs'])}"
    return "of unknown form"


def _line(text) -> str:
    return f'<p class="osi-caption">{html.escape(text)}</p>'


def _folded(table) -> str:
    return f"<details><summary>the numbers</summary>{table._repr_html_()}</details>"


def _show(recording) -> list[str]:
    content = recording.content
    if "checks" in recording.about:
        return _checks(recording.about["checks"])
    if "ladder" in content:
        return _comparison(Timings.from_json(json.dumps(content)))
    if "all-reduce" in content:
        return _ranks(content)
    if "printed" in content:
        return _printed(content["printed"])
    if "runs" in content:
        return _runs(content["runs"])
    return [_line("it is of a form that this page cannot draw")]


def _comparison(timings) -> list[str]:
    timed = {timing.workload for timing in timings.results if timing.seconds}
    parts = []
    if timed:
        shown = replace(timings, results=tuple(t for t in timings.results if t.workload in timed))
        parts.append(picture(shown.plot())._repr_html_())
    return [*parts, _folded(timings.table())]


def _checks(checks) -> list[str]:
    rows = []
    for bar in checks.get("bars", ()):
        share = bar.get("share")
        met = "nothing to compare with" if share is None else "yes" if share >= bar["least"] else "no"
        rows.append(
            (
                bar["what"],
                bar["against"],
                "–" if share is None else f"{share:.2f}",
                f"{bar['least']:.2f}",
                met,
            )
        )
    lines = [f"wrong: {wrong}" for wrong in checks.get("wrong", ())] or ["nothing was wrong"]
    lines += [f"left out: {what}" for what in checks.get("left out", ())]
    lines += [f"{name}: {said}" for name, said in checks.items() if isinstance(said, str)]
    table = Table(("what", "against", "share", "at least", "met"), tuple(rows), "\n".join(lines))
    return [table._repr_html_()]


def _behind(drawn, label, names) -> str:
    """Put drawings behind a slider; one alone needs none."""
    shown = frames(drawn, label, names=names) if len(drawn) > 1 else picture(drawn[0])
    return shown._repr_html_()


def _ranks(content) -> list[str]:
    counts = sorted({row["ranks"] for row in content["all-reduce"]})
    drawn = [all_reduces.draw(content["all-reduce"], count) for count in counts]
    parts = [_behind(drawn, "ranks", counts)]
    by_ranks = {}
    for name, run in content.get("runs", {}).items():
        by_ranks.setdefault(run["ranks"], {})[name] = from_rows(run["spans"])
    for runs in by_ranks.values():  # drawings behind one slider have one size
        drawn = []
        for name, spans in runs.items():
            end = max(span.stop for span in spans)
            drawn.append(gantt.draw(spans, f"{name}: a third of the run", start=end / 3, stop=2 * end / 3))
        parts.append(_behind(drawn, "run", list(runs)))
    gains = ("same batch", "same share", "apart")
    rows = [
        (one["ranks"], one["batch"], f"{one['alone']:,.0f}", *(f"{one[gain]:.2f}" for gain in gains))
        for one in content.get("throughput", ())
    ]
    head = ("ranks", "batch", "images/s alone", "× same batch", "× same share", "× apart")
    parts.append(Table(head, tuple(rows))._repr_html_())
    return parts


def _printed(printed) -> list[str]:
    return [
        f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(text)}</pre></details>"
        for name, text in printed.items()
    ]


def _runs(runs) -> list[str]:
    losses = {name: run["losses"] for name, run in runs.items() if "losses" in run}
    parts = [picture(curves(losses))._repr_html_()] if losses else []
    names = list(dict.fromkeys(name for run in runs.values() for name in run))
    rows = tuple((what, *(_brief(name, run.get(name, "–")) for name in names)) for what, run in runs.items())
    return [*parts, Table(("run", *names), rows)._repr_html_()]


def _brief(name, value) -> str:
    if isinstance(value, list):
        ends = f"{_brief('', value[0])} … {_brief('', value[-1])}" if value else "none"
        return f"{ends} ({len(value)})"
    if isinstance(value, float):
        return time_text(value) if name == "seconds" else f"{value:.4g}"
    return str(value)


@drawing
def curves(losses):
    """Return the losses of several trainings over their steps; curves that agree lie on each other.

    Parameters
    ----------
    losses : dict of str to sequence of float
    """
    figure, axes = new_figure(5.4, 3.0)
    for i, (name, values) in enumerate(losses.items()):
        width = 1.2 + 1.6 * (len(losses) - 1 - i)  # the last is the thinnest, and on top
        axes.plot(
            range(1, len(values) + 1), values, color=SERIES[i % len(SERIES)], label=name, linewidth=width
        )
    axes.set(yscale="log", xlabel="step", ylabel="loss")
    axes.tick_params(which="minor", length=0)
    axes.legend(loc="upper right")
    says = "; ".join(f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in losses.items())
    return describe(figure, f"Losses over the steps: {says}.")


if __name__ == "__main__":
    print(overview(recordings()))

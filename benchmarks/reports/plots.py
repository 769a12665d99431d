"""The plots of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from benchmarks.load.samples import MODELS, Summary, mean_spans
from benchmarks.measurement.plan import (
    CLIENT_COUNTS,
    OUR_RUNTIME,
    PEERS,
    POISSON_PERCENTS,
    SERVERS,
    clients_label,
    poisson_label,
)
from benchmarks.measurement.results import RESULTS_FOLDER, Groups, Labels, Results
from benchmarks.reports.tables import SPAN_LABELS

# Colours that colour-blind readers can tell apart (Okabe and Ito).
COLOURS = {
    "one_process": "#999999",
    "one_process_fast": "#666666",
    "serve": "#e69f00",
    "serve_batch": "#0072b2",
    "serve_batch_fast": "#56b4e9",
    "relay": "#009e73",
}
SEGMENTS = {
    "waiting": "#dddddd",
    "text encoder": "#9ecae1",
    "UNet": "#3182bd",
    "decoder": "#08306b",
    "outside": "#d55e00",
}
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eeeeee",
    "axes.axisbelow": True,
    "font.size": 10,
    "legend.frameon": False,
    "figure.dpi": 130,
}


def draw_all(results: Results) -> list[Path]:
    """Writes the three plots. Returns their files: latency, clients and time."""
    groups, labels = results.by_load(), results.labels
    files = []
    with plt.rc_context(STYLE):
        for name, draw in (("latency", latency), ("clients", clients), ("time", time_spent)):
            figure = draw(groups, labels)
            files.append(RESULTS_FOLDER / f"{results.name}-{name}.png")
            figure.savefig(files[-1])
            plt.close(figure)
    return files


def latency(groups: Groups, labels: Labels) -> Any:
    """Plots the distribution of latencies, a panel for each Poisson load."""
    figure, axes = plt.subplots(
        1, len(POISSON_PERCENTS), figsize=(11, 3.8), sharex=True, sharey=True, layout="constrained"
    )
    for axis, percent in zip(axes, POISSON_PERCENTS, strict=True):
        for peer in PEERS:
            measurements = groups.get((peer, poisson_label(percent)), ())
            if latencies := [
                sample.latency for measurement in measurements for sample in measurement.drawn
            ]:
                axis.ecdf(latencies, color=COLOURS[peer], lw=2)
        axis.axhline(0.95, color="#999999", lw=1, ls=":")
        axis.set(title=f"Poisson arrivals, {percent} %", xlabel="latency, seconds", xscale="log")
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(PLAIN)
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set(ylabel="pictures drawn by then", ylim=(0, 1.02))
    _legend(figure, labels, (*SERVERS, OUR_RUNTIME["serve_batch"]))
    return figure


def clients(groups: Groups, labels: Labels) -> Any:
    """Plots pictures a second and median latency by the number of clients in a closed loop."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    for peer in SERVERS:
        found = {
            count: Summary.of(groups[peer, clients_label(count)])
            for count in CLIENT_COUNTS
            if (peer, clients_label(count)) in groups
        }
        style = {"color": COLOURS[peer], "marker": "o", "lw": 2}
        left.plot(list(found), [summary.per_second for summary in found.values()], **style)
        right.plot(list(found), [summary.p50 for summary in found.values()], **style)
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("clients")
        axis.xaxis.set_major_formatter(PLAIN)
    left.set(title="Throughput", ylabel="pictures a second", ylim=(0, None))
    right.set(title="Latency", ylabel="median, seconds", yscale="log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.yaxis.set_major_formatter(PLAIN)
    _legend(figure, labels, SERVERS)
    return figure


def time_spent(groups: Groups, labels: Labels) -> Any:
    """Plots where the time of an average picture goes, with 1 and with 16 clients."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
    for axis, load in zip(axes, map(clients_label, (1, 16)), strict=True):
        peers = [peer for peer in reversed(PEERS) if (peer, load) in groups]
        left = np.zeros(len(peers))
        spans = [segments(mean_spans(groups[peer, load])) for peer in peers]
        for name, colour in SEGMENTS.items():
            widths = np.array([1000 * found[name] for found in spans])
            axis.barh([labels[peer] for peer in peers], widths, left=left, color=colour, label=name)
            left += widths
        axis.set(title=load, xlabel="milliseconds of an average picture")
        axis.grid(visible=False, axis="y")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(SEGMENTS))
    return figure


def segments(spans: Mapping[str, float]) -> dict[str, float]:
    """Returns the seconds of each bar segment: all queues together, the models, the rest."""
    waiting = sum(seconds for name, seconds in spans.items() if name.endswith("queue"))
    named = {SPAN_LABELS[model]: spans.get(model, 0.0) for model in MODELS}
    return {"waiting": waiting, **named, "outside": max(0.0, spans["outside"])}


def _legend(figure: Any, labels: Labels, peers: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=COLOURS[peer], lw=2, label=labels[peer])
        for peer in peers
        if peer in labels
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))

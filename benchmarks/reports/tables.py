"""The Markdown tables of a result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.load.samples import Measurement, Summary, mean_hops, mean_spans, outside_share
from benchmarks.measurement.goals import check_goals
from benchmarks.measurement.plan import (
    CLIENT_COUNTS,
    PEERS,
    POISSON_PERCENTS,
    SERVERS,
    WITH_PREVIEWS,
    clients_label,
    poisson_label,
)
from benchmarks.measurement.results import Groups, Labels, Results

LOADS = (*map(clients_label, (1, 16)), *map(poisson_label, POISSON_PERCENTS))
SPAN_LABELS = {
    "queue": "waiting",
    "text_encoder_queue": "waiting for the text encoder",
    "text_encoder": "text encoder",
    "unet_queue": "waiting for the UNet",
    "unet": "UNet",
    "vae_decoder_queue": "waiting for the decoder",
    "vae_decoder": "decoder",
    "outside": "outside",
}


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Returns a Markdown table. The first `texts` columns are aligned left, the others right."""
    rule = ["---"] * texts + ["--:"] * (len(head) - texts)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def markdown(results: Results, images: str) -> str:
    """Returns all sections of a result. images: the plots' folder, relative to the document."""
    groups, labels = results.by_load(), results.labels

    def plot(name: str, text: str) -> str:
        return f"![{text}]({images}{results.name}-{name}.png)"

    latency = plot("latency", "Latency under Poisson arrivals")
    clients = plot("clients", "Throughput and latency by clients")
    time = plot("time", "Where the time of a picture goes")
    sections = {"Under load": f"{latency}\n\n{under_load(groups, labels)}"}
    if check_goals(groups):
        sections = {"Goals": goals(groups, labels), **sections}
    if any(
        ("relay", clients_label(count)) in groups for count in CLIENT_COUNTS if count not in (1, 16)
    ):
        sections["More clients"] = f"{clients}\n\n{more_clients(groups, labels)}"
    sections["Where the time goes"] = f"{time}\n\n{where_time_goes(groups, labels)}"
    texts = [f"### {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join([describe_run(results), *texts])


def describe_run(results: Results) -> str:
    """Returns a paragraph with machine, model, plan and capacity."""
    model, plan = results.facts["model"], results.facts["plan"]
    mix, batching = ", ".join(map(str, plan["mix"])), plan.get("batching", "serve_batch")
    return (
        f"{environment(results.facts)}\n"
        f"`{model['name']}` on {model['device']}, the peers in {model['dtype']}, "
        f"{model['size']}, guidance {model['guidance_scale']:g}, {plan['steps']} steps (in mixed "
        f"loads one of {mix}), threads: {model['threads']}, rounds: {plan['rounds']}. A Poisson "
        f"load lasts {plan['seconds']:g} s, and its rate is a percentage of what "
        f"{results.labels[batching]} can do: {number(results.capacity())} pictures a second."
        f"{_same_picture(results.facts)} {_other_programs(results.measurements)}"
    )


def _same_picture(facts: Mapping[str, Any]) -> str:
    if "difference" not in facts:
        return ""
    return f" For one seed, all drew the same picture within {facts['difference']} of 255."


def _other_programs(measurements: Sequence[Measurement]) -> str:
    """Returns a sentence that tells how busy other programs were."""
    cores = [measurement.others for measurement in measurements]
    mean, most = sum(cores) / (len(cores) or 1), max(cores, default=0.0)
    return f"Other programs kept {number(mean)} cores busy on average, {number(most)} at most."


def environment(facts: Mapping[str, Any]) -> str:
    """Returns a sentence with date, commit, machine and versions."""
    machine = facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"Measured {facts['measured']} at commit {facts['commit']}: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['gpu'] or 'no GPU'}; "
        f"{versions}."
    )


def goals(groups: Groups, labels: Labels) -> str:
    rows = [
        (
            verdict.goal.text(labels),
            verdict.goal.bound,
            f"{verdict.ratio:.2f}×",
            " to ".join(map(number, verdict.spread)),
            "met" if verdict.met else "**not met**",
        )
        for verdict in check_goals(groups)
    ]
    return markdown_table(("ours over theirs", "goal", "measured", "single rounds", ""), rows)


def under_load(groups: Groups, labels: Labels) -> str:
    rows = [
        (load, _bold(labels, peer), *_figures(Summary.of(groups[peer, load])))
        for load in LOADS
        for peer in PEERS
        if (peer, load) in groups
    ]
    times = ("p50", "p95", "p99", "wait p50", "wait p95")
    head = ("load", "peer", "pictures/s", *times, "CPU s a picture", "failed")
    text = "Latencies in seconds; the wait is that before the first step."
    return f"{text}\n\n{markdown_table(head, rows, texts=2)}{_previews(groups)}"


def _bold(labels: Labels, peer: str) -> str:
    return f"**{labels[peer]}**" if peer == "relay" else labels[peer]


def _figures(summary: Summary) -> tuple[str, ...]:
    times = (summary.p50, summary.p95, summary.p99, summary.wait_p50, summary.wait_p95)
    figures = (summary.per_second, *times, summary.cost)
    return (*map(number, figures), str(summary.failed))


def _previews(groups: Groups) -> str:
    sentences = ""
    for load in LOADS[:2]:
        if measurements := groups.get(("relay", load + WITH_PREVIEWS)):
            summary = Summary.of(measurements)
            preview = f"{number(summary.preview_p50)} s (p95 {number(summary.preview_p95)} s)"
            picture = f"{number(summary.p50)} s (p95 {number(summary.p95)} s)"
            sentences += (
                f"\n\nLatent Relay, {load}{WITH_PREVIEWS}: the first one, after a quarter of the "
                f"steps, comes after {preview}, the picture after {picture}."
            )
    return sentences


def more_clients(groups: Groups, labels: Labels) -> str:
    servers = [peer for peer in SERVERS if (peer, clients_label(1)) in groups]
    rows = []
    for clients in CLIENT_COUNTS:
        found = [Summary.of(groups.get((peer, clients_label(clients)), ())) for peer in servers]
        if any(summary.pictures for summary in found):
            rates = [summary.per_second for summary in found]
            figures = rates, [summary.p50 for summary in found]
            rows.append((str(clients), *(number(value) for row in figures for value in row)))
    head = [f"{what}: {labels[peer]}" for what in ("pictures/s", "p50, s") for peer in servers]
    return markdown_table(("clients", *head), rows)


def where_time_goes(groups: Groups, labels: Labels) -> str:
    text = "Milliseconds of an average picture; outside is what neither a model nor a queue had."
    return "\n\n".join([text, *(_spans(groups, labels, load) for load in LOADS[:2])])


def _spans(groups: Groups, labels: Labels, load: str) -> str:
    peers = [peer for peer in PEERS if (peer, load) in groups]
    found = [mean_spans(groups[peer, load]) for peer in peers]
    rows = [
        (label, *(_milliseconds(spans.get(name)) for spans in found))
        for name, label in SPAN_LABELS.items()
        if any(name in spans for spans in found)
    ]
    rows.append(("share outside", *(f"{100 * outside_share(spans):.1f} %" for spans in found)))
    for hop, seconds in mean_hops(groups.get(("relay", load), ())).items():
        rows.append((f"– {hop}", *[""] * (len(peers) - 1), _milliseconds(seconds)))
    return markdown_table((load, *(labels[peer] for peer in peers)), rows)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f}"

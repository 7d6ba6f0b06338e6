"""Pure: from the samples of all rounds to medians and ratios."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.measure import Sample

OURS, STREAQ, SAQ, BEFORE = "ours", "streaq", "saq", "before"


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that was measured: contestant → measurement → one sample per round."""

    of: dict[str, dict[str, list[Sample]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, contestant: str, measurement: str, sample: Sample) -> None:
        """Remember one sample."""
        self.of[contestant][measurement].append(sample)


def rates(samples: Samples) -> dict[str, dict[str, float]]:
    """Contestant → measurement → median per second."""
    return {
        name: {
            measurement: round(median(each.per_second for each in taken), 1)
            for measurement, taken in measured.items()
            if taken[0].per_second
        }
        for name, measured in samples.of.items()
    }


def ratios(of_rates: dict[str, dict[str, float]], peer: str) -> dict[str, float]:
    """Ours divided by the peer's, for what both measured."""
    ours, theirs = of_rates.get(OURS, {}), of_rates.get(peer, {})
    return {
        measurement: round(ours[measurement] / theirs[measurement], 2) for measurement in ours if measurement in theirs
    }


def waits(samples: Samples) -> dict[str, dict[str, dict[str, float]]]:
    """Contestant → way of waiting → median of each round's p50, p99 and maximum, in ms; the documented way first."""
    return {
        name: {way: _middle([each.ways[way] for each in taken]) for way in taken[0].ways}
        for name, measured in samples.of.items()
        if (taken := measured.get("latency"))
    }


def worker_cpu_us(samples: Samples) -> dict[str, float]:
    """Contestant → median processor time of the worker process per drained task."""
    return {
        name: round(median(each.extra["worker_cpu_us"] for each in taken), 1)
        for name, measured in samples.of.items()
        if (taken := measured.get("drain"))
    }


def drain_checks(samples: Samples) -> dict[str, dict[str, list[float]]]:
    """Contestant → how many runs and how many successful results each drain was found to have."""
    return {
        name: {key: [each.extra[key] for each in taken] for key in ("ran", "results")}
        for name, measured in samples.of.items()
        if (taken := measured.get("drain"))
    }


def sealing(samples: Samples) -> dict[str, dict[str, float]]:
    """Suite and size → median µs to seal, to open, and for both; and the least of all rounds for both."""
    taken = samples.of.get(OURS, {}).get("seal")
    if not taken:
        return {}
    least = {way: min(each.ways[way]["least"] for each in taken) for way in taken[0].ways}
    return {way: _middle([each.ways[way] for each in taken]) | {"least": least[way]} for way in least}


def report(samples: Samples, facts: dict[str, Any]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    of_rates, of_waits = rates(samples), waits(samples)
    return {
        "ratios": ratios(of_rates, STREAQ),
        "ratios_saq": ratios(of_rates, SAQ),
        "ratios_before": ratios(of_rates, BEFORE),
        "latency_ms": _headline(of_waits.get(OURS, {})),
        "seal_us": sealing(samples),
        "latency_ms_peers": {peer: _with_others(of_waits[peer]) for peer in (STREAQ, SAQ, BEFORE) if peer in of_waits},
        "per_second": of_rates,
        "per_second_rounds": _rounds(samples),
        "worker_cpu_us_per_task": worker_cpu_us(samples),
        "drain_checks": drain_checks(samples),
        "run": facts,
    }


def _middle(ways: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(median(way[key] for way in ways), 3) for key in ways[0]}


def _headline(ways: dict[str, dict[str, float]]) -> dict[str, float]:
    return next(iter(ways.values()), {})


def _with_others(ways: dict[str, dict[str, float]]) -> dict[str, Any]:
    (name, first), *others = ways.items()
    return {**first, "way": name, "other_ways": dict(others)}


def _rounds(samples: Samples) -> dict[str, dict[str, list[float]]]:
    return {
        name: {
            measurement: [round(each.per_second, 1) for each in taken]
            for measurement, taken in measured.items()
            if taken[0].per_second
        }
        for name, measured in samples.of.items()
    }

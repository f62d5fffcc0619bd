"""The gateway's metrics, as a Prometheus server would read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadtests.tally import Counts, Kind

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """All samples of one moment."""

    samples: tuple[Sample, ...]

    @classmethod
    def of_text(cls, text: str) -> Scrape:
        """Read Prometheus's text format."""
        families = text_string_to_metric_families(text)
        return cls(tuple(sample for family in families for sample in family.samples))

    def total(self, name: str, **labels: str) -> float:
        """Sum over the samples of that name that carry these labels; 0 when there is none."""
        return sum(sample.value for sample in self._named(name) if labels.items() <= sample.labels.items())

    def requests(self, models: Collection[str]) -> Counts:
        """Inference requests of some models, by kind; versions are added up."""
        counts: Counts = Counter()
        for sample in self._named("attnserve_requests_total"):
            if sample.labels["model"] in models:
                counts[_kind(sample.labels)] += int(sample.value)
        return counts

    def _named(self, name: str) -> Iterator[Sample]:
        return (sample for sample in self.samples if sample.name == name)


def _kind(labels: Mapping[str, str]) -> Kind:
    return Kind(labels["model"], labels["protocol"], labels["outcome"])


def scrape(url: str) -> Scrape:
    """Read a metrics page.

    Raises:
        httpx.HTTPError: It cannot be read.
    """
    return Scrape.of_text(httpx.get(url, timeout=TIMEOUT_S, trust_env=False).raise_for_status().text)

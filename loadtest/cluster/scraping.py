"""Figures as a process shows them to Prometheus."""

from __future__ import annotations

__all__ = ["figures", "total"]


def figures(scraped: str) -> dict[str, float]:
    """The values of an exposition, by series."""
    lines = (line.rpartition(" ") for line in scraped.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def total(figures: dict[str, float], name: str) -> float:
    """The sum of a name's series, whatever their labels; 0 where there is none."""
    return sum(value for series, value in figures.items() if series.partition("{")[0] == name)

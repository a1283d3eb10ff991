"""A run's metrics over steps, as a picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax.report import figures


def training_curves(metrics_jsonl: Path) -> bytes:
  """Every metric of every phase over steps, a line a member.

  Args:
    metrics_jsonl: the run's record, one JSON object a line.
  """
  curves = _curves(metrics_jsonl)
  width = max(1, min(3, len(curves)))
  height = max(1, -(-len(curves) // width))
  figure = figures.canvas(3.6 * width, 2.6 * height)
  grid = figure.subplots(height, width, squeeze=False).ravel()
  for axes, (title, (steps, values)) in zip(grid, curves.items(), strict=False):
    # One point makes no line.
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, values, linewidth=0.9, marker=marker)
    axes.set(title=title, xlabel="step", ylabel=title.split(": ")[1])
    axes.grid(alpha=0.3)
    if np.nanmin(values, initial=np.inf) > 0:
      axes.set_yscale("log")
  for axes in grid[len(curves) :]:
    axes.set_visible(False)
  return figures.png(figure)


def _curves(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Steps [s] and values [s] or [s, k] of `phase: metric`, the loss first."""
  points: dict[str, dict[str, list[tuple[int, Any]]]] = {}
  for line in path.read_text("utf-8").split("\n")[:-1]:
    record = json.loads(line)
    named = points.setdefault(record["phase"], {"loss": []})
    for name in sorted(record.keys() - {"phase", "step", "time", "seconds"}):
      named.setdefault(name, []).append((record["step"], record[name]))
  return {
    f"{phase}: {name}": _series(series)
    for phase, named in points.items()
    for name, series in named.items()
    if series
  }


def _series(points: list[tuple[int, Any]]) -> tuple[np.ndarray, np.ndarray]:
  steps, values = zip(*points, strict=True)
  return np.array(steps), np.array(values, np.float64)  # None becomes NaN

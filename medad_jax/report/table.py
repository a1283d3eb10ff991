"""Results as text: the table for the terminal, and how numbers are written."""

from collections.abc import Mapping, Sequence
from typing import Any

PIXEL_HEADER = ("pixels of", "AUROC", "AP", "AUPRO", "oracle Dice")
_PIXELS = ("pixel_auroc", "pixel_ap", "aupro", "oracle_dice")


def results_table(results: Mapping[str, Any]) -> str:
  """The scores as tables of fixed width, for the terminal."""
  scores = results["scores"]
  spread = "mean ± std" if results["seeds"] > 1 else "[95% CI]"
  header = ("score", f"AUROC {spread}", f"AP {spread}", "chi2")
  rows = [
    (name, metric(s, "auroc"), metric(s, "ap"), number(s["chi2"], 2))
    for name, s in scores.items()
  ]
  lines = [_title(results), "", *_aligned(header, rows, right=1)]
  if pixels := pixel_rows(scores):
    lines += ["", *_aligned(PIXEL_HEADER, pixels, right=4)]
  return "\n".join(lines)


def images(results: Mapping[str, Any]) -> str:
  """How many test images there are of each class."""
  counts = next(iter(results["scores"].values()))
  return (
    f"{counts['n_normal']:,} normal and {counts['n_abnormal']:,} abnormal test"
    " images"
  )


def unofficial(results: Mapping[str, Any]) -> str:
  """Names and origins of pretrained weights that are not the official ones."""
  return ", ".join(
    f"{name} {origin}"
    for name, origin in results["weights"].items()
    if origin != "official"
  )


def pixel_rows(scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """Metrics of the maps, of the scores that have one; see `PIXEL_HEADER`."""
  return [
    (name, *(metric(score, key) for key in _PIXELS))
    for name, score in scores.items()
    if "n_pixels" in score
  ]


def metric(score: Mapping[str, Any], name: str) -> str:
  """A metric with its deviation over seeds, or with its interval."""
  if "over_seeds" not in score:
    return with_interval(score[name], score.get(f"{name}_ci"))
  spread = score["over_seeds"][name]
  return f"{number(spread['mean'], 3)} ± {number(spread['std'], 3)}"


def with_interval(
  value: float | None, interval: Sequence[float] | None, sign: str = ""
) -> str:
  """The value, and its interval in brackets."""
  if interval is None:
    return number(value, 3, sign)
  low, high = (number(end, 3, sign) for end in interval)
  return f"{number(value, 3, sign)} [{low}, {high}]"


def number(value: float | None, digits: int, sign: str = "") -> str:
  """The value, or a dash where there is none."""
  return "-" if value is None else f"{value:{sign}.{digits}f}"


def _title(results: Mapping[str, Any]) -> str:
  title = f"{results['method']} on {results['dataset']}, {images(results)}"
  if results["seeds"] > 1:
    title += f", {results['seeds']} seeds"
  origins = unofficial(results)
  return f"{title}\nnot the official weights: {origins}" if origins else title


def _aligned(
  header: Sequence[str], rows: Sequence[Sequence[str]], right: int
) -> list[str]:
  """Lines of equal width, the last `right` columns flush right."""
  table = [header, *rows]
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  sides = [str.ljust] * (len(header) - right) + [str.rjust] * right
  lines = [
    "  ".join(
      side(cell, width)
      for side, cell, width in zip(sides, row, widths, strict=True)
    )
    for row in table
  ]
  return [lines[0], "-" * len(lines[0]), *lines[1:]]

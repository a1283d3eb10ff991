"""The page of a reproduced table: numbers, and what they were made with."""

from collections.abc import Iterator, Mapping, Sequence
import os
import platform

from medad_jax.report import comparison, provenance, table
from medad_jax.report.results import Results


def columns(
  costs: Mapping[str, int | float], seconds: int | float
) -> dict[str, str]:
  """Cells on a run's costs.

  Args:
    costs: "parameters", "macs" and "images_per_second".
    seconds: of its training, all seeds together.
  """
  return {
    "parameters": f"{costs['parameters']:,.0f}",
    "MACs an image": f"{costs['macs']:,.0f}",
    "images a second": f"{costs['images_per_second']:,.0f}",
    "training, minutes": f"{seconds / 60:,.1f}",
  }


def page(
  title: str,
  lines: Sequence[comparison.Line],
  found: Mapping[str, Results],
  notes: Sequence[str],
  picture: str,
) -> str:
  """The page in Markdown.

  Args:
    title: of the page, such as the table's command.
    lines: of the table.
    found: results of each run by its name.
    notes: sentences that follow the title.
    picture: file name of the picture, beside the page.
  """
  parts = [f"# {title}", ""]
  parts += [f"{note}\n" for note in notes]
  parts += [comparison.markdown(lines), f"![Ours and published]({picture})", ""]
  parts += ["## Data", "", *_bullets(_data(found)), ""]
  parts += ["## Runs", "", *_bullets(_runs(found)), ""]
  return "\n".join(parts)


def _bullets(items: Iterator[str]) -> list[str]:
  return [f"- {item}" for item in dict.fromkeys(items)]


def _data(found: Mapping[str, Results]) -> Iterator[str]:
  """Fingerprints, counts, and what the audit of each set found."""
  for one in found.values():
    counts = ", ".join(f"{k} {v:,}" for k, v in one.data["counts"].items())
    yield f"{one.dataset}: fingerprint `{one.data['fingerprint']}`; {counts}"
  for one in found.values():
    yield f"{one.dataset}: {table.basis(one.main)}"
    yield from table.audit_sentences(one)


def _runs(found: Mapping[str, Results]) -> Iterator[str]:
  """Where and with what each run was trained."""
  yield f"this page was made on {platform.machine()}, {os.cpu_count()} cores"
  for name, one in found.items():
    for origin in one.weights.items():
      yield f"{name}: weights of {' '.join(origin)}"
    minutes = sum(one.seconds.values()) / 60
    seeds = f"seeds {one.seed} to {one.seed + one.seeds - 1}"
    yield f"{name}: {seeds}, {minutes:,.1f} minutes of training"
    for what, text in provenance.rows(one.trained, one.evaluated):
      yield f"{name}, {what}: {text}"

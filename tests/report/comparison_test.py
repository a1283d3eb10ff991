"""Tables of ours beside published: cells, verdicts, CSV, pictures."""

import csv
import dataclasses
import io

import pytest

from medad_jax import published
from medad_jax.report import comparison

VALUE = published.Value(
  "brain", "ae", "auroc", 0.859, 0.003, 3, "a paper, table 1", "published"
)
OTHER = dataclasses.replace(
  VALUE, value=0.84, std=None, seeds=1, source="a note", confidence="re-run"
)
LINE = comparison.Line(
  "ae",
  "brain",
  "ae",
  "auroc",
  (0.85, 0.86, 0.87),
  (0.84, 0.88),
  (VALUE, OTHER),
  protocol="a tenth of the protocol",
)


@pytest.mark.parametrize(
  ("changes", "verdict"),
  [
    ({}, "consistent"),
    ({"values": (0.6, 0.61, 0.62)}, "differs"),
    ({"values": (0.6,)}, "cannot tell: 1 seed"),
    ({"published": ()}, "nothing published"),
    ({"images": "test 122 of 2,000"}, "cannot tell: other images (test 122"),
    ({"values": (), "failure": "no data"}, "failed"),
  ],
)
def test_verdicts(changes, verdict):
  line = dataclasses.replace(LINE, **changes)
  assert line.verdict.startswith(verdict)
  assert line.verdict in comparison.text([line])
  assert line.verdict in comparison.markdown([line])


def test_markdown_has_all_that_is_known():
  page = comparison.markdown([LINE])
  assert "0.860 ± 0.010 (3 seeds)" in page and "[0.840, 0.880]" in page
  assert "0.859 ± 0.003; 0.840 (re-run)" in page
  assert "- a paper, table 1 (published)" in page and "+0.001 [" in page
  assert "a tenth of the protocol" in page
  failed = dataclasses.replace(LINE, values=(), failure="no a|b")
  assert "- ae: no a|b" in comparison.markdown([failed])


def test_a_long_protocol_stands_once_below_the_table():
  changed = ", ".join(["a tenth of the protocol", *["data.image_size=32"] * 3])
  line = dataclasses.replace(LINE, protocol=changed)
  for page in (comparison.text, comparison.markdown):
    found = page([line, line])
    assert found.count(changed) == 1
    assert found.count("a tenth of the protocol, and more (1)") == 2
  assert comparison.csv_text([line, line]).count(changed) == 2


def test_csv_is_read_back():
  more = dataclasses.replace(LINE, more={"parameters": "12"}, published=())
  [first, second] = csv.DictReader(
    io.StringIO(comparison.csv_text([LINE, more]))
  )
  assert float(first["mean"]) == pytest.approx(0.86)
  assert first["confidence"] == "published" and first["seeds"] == "3"
  assert (second["published"], second["parameters"]) == ("", "12")
  assert second["verdict"] == "nothing published"


def test_the_picture_is_a_png_even_of_failures():
  failed = dataclasses.replace(LINE, values=(), failure="none")
  assert comparison.picture([LINE, failed])[:4] == b"\x89PNG"
  assert comparison.picture([failed])[:4] == b"\x89PNG"

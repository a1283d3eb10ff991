"""Published values: every row has a source, and a run that it is beside."""

import pytest

from configs import _tables
from medad_jax import published, shipped
from medad_jax.engine import comparison
from medad_jax.report import results
from medad_jax.scoring import metrics, pixel_metrics

_METRICS = {
  *metrics.Ranking.__annotations__,
  *pixel_metrics.Pixels.__annotations__,
  "detection_rate",
}


def test_every_value_has_a_source_and_is_a_share():
  found = published.values()
  assert len(found) > 250
  for value in found:
    assert 0 < value.value < 1 and value.source
    assert value.confidence in published.CONFIDENCES
    assert value.metric in _METRICS
    assert value.std is None or 0 <= value.std < 0.1
  keys = [(v.dataset, v.method, v.metric, v.source) for v in found]
  assert len({*keys}) == len(keys)


@pytest.mark.parametrize(
  ("dataset", "method", "metric", "value", "std"),
  [
    ("brain", "ae", "auroc", 0.859, 0.003),
    ("brain", "ae,latent=1", "ap", 0.424, 0.006),
    ("brats", "dae", "oracle_dice", 0.711, 0.006),
    ("rsna", "ddad-ae/inter", "auroc", 0.815, None),
    ("nih_subset", "dpa/pg", "auroc", 0.926, None),
    ("cifar10:3", "piad/reproduce", "auroc", 0.602, None),
    ("fastmri", "ra", "detection_rate", 0.86, None),
  ],
)
def test_known_values(dataset, method, metric, value, std):
  found = published.find(dataset, method, metric)[0]
  assert (found.value, found.std) == (value, std)


def test_the_most_trustworthy_comes_first_and_all_are_kept():
  found = published.find("rsna", "ddad-ae/inter", "auroc")
  assert [value.confidence for value in found] == [*published.CONFIDENCES]
  assert published.find("covid_ct", "maddr", "auroc") == []


def test_every_value_is_of_a_run_that_a_table_has():
  rows = [
    (row, comparison.configured(row)["data"]["name"])
    for name in _tables.names()
    for ablation in (False, True)
    for row in _tables.rows(name, ablation)
  ]
  there = {
    (row.dataset or dataset, method)
    for row, dataset in rows
    for _, method in row.scores
  }
  # The mean over classes belongs to the set without one.
  there |= {(dataset.partition(":")[0], method) for dataset, method in there}
  lost = {(v.dataset, v.method) for v in published.values()} - there
  assert lost == set()


def test_scores_of_rows_are_those_of_their_methods():
  for name in ("medianomaly/brain", "ae4ad/brain", "ddad/brain"):
    for row in _tables.rows(name):
      config = comparison.configured(row)
      method = comparison.configuration.build_method(config)
      own = {*method.score_names, "", "single", "r_intra"}
      assert {score for score, _ in row.scores} <= own
  assert results.Score  # what `comparison` reads them from
  assert shipped.module("configs._tables") is _tables

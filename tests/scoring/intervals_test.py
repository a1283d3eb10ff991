"""The intervals hold what they promise, by simulation with known truth."""

import itertools
import statistics

import numpy as np
import pytest

from benchmarks import coverage, coverage_of_sets
from medad_jax.scoring import intervals, metrics


def gaussians(rng, size, shift, ratio=1):
  return rng.normal(size=size), rng.normal(size=ratio * size) + shift


def test_the_variances_are_those_of_their_papers():
  """DeLong's against its O(nm) definition, with ties; Newcombe's by hand."""
  rng = np.random.default_rng(0)
  normal, abnormal = rng.integers(0, 6, 30) / 1.0, rng.integers(2, 8, 20) / 1.0
  gap = abnormal[:, None] - normal
  wins = np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))
  parts = intervals._placements(normal, abnormal)
  found = sum(intervals._variance(part) for part in parts)
  wanted = wins.mean(1).var(ddof=1) / 20 + wins.mean(0).var(ddof=1) / 30
  assert found == pytest.approx(wanted)
  # 0.8 * 0.2 * (1 + 24 * 0.2 / 1.2 + 24 * 0.8 / 1.8) / 600
  assert intervals.newcombe_variance(0.8, 30, 20) == pytest.approx(
    0.16 * (1 + 4 + 32 / 3) / 600
  )


@pytest.mark.parametrize("family", coverage.FAMILIES)
@pytest.mark.parametrize(
  ("sizes", "area"),
  [
    ((25, 25), 0.8),
    ((50, 500), 0.99),
    pytest.param((500, 50), 0.95, marks=pytest.mark.slow),
    pytest.param((300, 300), 0.999, marks=pytest.mark.slow),
  ],
)
def test_auroc_interval_covers(family, sizes, area):
  """`python -m benchmarks.coverage` has the whole table."""
  found = coverage.coverage(coverage.FAMILIES[family], sizes, area, 400, 1)
  # 400 trials at 95 % stray by 1.1 points; unequal classes lose up to 3.
  assert found.share >= (0.92 if family == "equal Gaussians" else 0.88)
  # No interval is so wide that it says nothing.
  assert found.width <= 0.3


def boundary(swapped, size=500):
  """Scores in order, but for that many pairs at the border of the classes."""
  values = np.arange(2.0 * size)
  values[size - swapped : size + swapped] = values[
    size - swapped : size + swapped
  ][::-1]
  return values[:size], values[size:]


def assert_lower(worse, better):
  """Both ends; a tie where the better one has reached 1."""
  assert worse[0] < better[0]
  assert worse[1] < better[1] or worse[1] == better[1] == 1


@pytest.mark.parametrize("size", [5, 50, 500])
def test_worse_scores_have_lower_ends_near_1(size):
  ends = [
    intervals.auroc_interval(*boundary(k, size)) for k in range(size // 5 + 1)
  ]
  for better, worse in itertools.pairwise(ends):
    assert_lower(worse, better)


def test_any_improvement_raises_both_ends_near_1():
  """Raise one abnormal image's score, from anywhere to anywhere."""
  rng = np.random.default_rng(11)
  tried = 0
  while tried < 100:
    normal, abnormal = gaussians(rng, 60, rng.uniform(2.5, 4.5))
    better = abnormal.copy()
    place = rng.integers(60)
    better[place] += rng.exponential()
    before = intervals.auroc_interval(normal, abnormal)
    after = intervals.auroc_interval(normal, better)
    areas = [np.mean(a[:, None] > normal) for a in (abnormal, better)]
    if areas[0] < areas[1]:
      assert_lower(before, after)
      tried += 1


def test_images_of_one_patient_are_not_independent():
  """Take ten images a patient as independent, as the page warns not to."""
  several = coverage.gaussian(1.0, 10)
  found = coverage.coverage(several, (300, 300), 0.8, 200, 1)
  assert 0.5 < found.share < 0.8


@pytest.mark.parametrize(("size", "shift"), [(40, 1.0), (60, 2.2)])
def test_average_precision_interval_covers(size, shift):
  rng = np.random.default_rng(2)
  large = gaussians(rng, 100_000, shift)
  labels = np.repeat([0, 1], 100_000)
  truth = metrics.average_precision(labels, np.concatenate(large))
  covered = 0
  for trial in range(300):
    low, high = intervals.average_precision_interval(
      *gaussians(rng, size, shift), draws=200, seed=trial
    )
    covered += low <= truth <= high
  assert 0.9 <= covered / 300 <= 0.985


def test_auroc_interval_agrees_with_the_bootstrap():
  rng = np.random.default_rng(3)
  normal, abnormal = gaussians(rng, 300, 1.0)
  labels = np.repeat([0, 1], 300)
  draws = []
  for _ in range(500):
    pick = rng.integers(300, size=(2, 300))
    sample = np.concatenate([normal[pick[0]], abnormal[pick[1]]])
    draws.append(metrics.auroc(labels, sample))
  np.testing.assert_allclose(
    intervals.auroc_interval(normal, abnormal),
    np.quantile(draws, [0.025, 0.975]),
    atol=0.006,
  )


def test_resampling_is_the_metric_of_resampled_sets():
  """The vectorized draws against the metric, one draw after another."""
  rng = np.random.default_rng(4)
  normal, abnormal = rng.integers(0, 9, 40) / 1.0, rng.integers(3, 12, 25) / 1.0
  count, places = intervals._places(abnormal, normal)
  fast = intervals._resampled_precisions(
    np.random.default_rng(5), places, count, 20
  )
  again = np.random.default_rng(5)
  pick = [again.integers(len(g), size=(20, len(g))) for g in (abnormal, normal)]
  labels = np.repeat([1, 0], [25, 40])
  slow = [
    metrics.average_precision(labels, np.concatenate([abnormal[i], normal[j]]))
    for i, j in zip(*pick, strict=True)
  ]
  np.testing.assert_allclose(fast, slow, rtol=1e-12)


def test_chunks_do_not_change_the_draws(monkeypatch):
  scores = gaussians(np.random.default_rng(6), 50, 1.0)
  whole = intervals.average_precision_interval(*scores, draws=100, seed=1)
  assert whole == intervals.average_precision_interval(
    *scores, draws=100, seed=1
  )
  assert whole != intervals.average_precision_interval(
    *scores, draws=100, seed=2
  )
  monkeypatch.setattr(intervals, "_CHUNK", 700)  # 7 draws at a time
  parts = intervals.average_precision_interval(*scores, draws=100, seed=1)
  np.testing.assert_allclose(parts, whole, atol=0.03)


def test_perfect_separation_is_not_certainty():
  normal, abnormal = np.arange(10.0), np.arange(10.0) + 20
  low, high = intervals.auroc_interval(normal, abnormal)
  assert high == 1
  error = intervals.newcombe_variance(low, 10, 10) ** 0.5
  assert 1 - low == pytest.approx(1.959964 * error, rel=1e-6)
  mirrored = intervals.auroc_interval(abnormal, normal)
  assert mirrored == pytest.approx((0.0, 1 - low))
  assert intervals.average_precision_interval(normal, abnormal) is None


def test_constant_scores_have_the_interval_of_chance():
  scores = np.zeros(5), np.zeros(8)
  low, high = intervals.auroc_interval(*scores)
  assert low == pytest.approx(1 - high)
  assert 0.15 < low < 0.3
  assert intervals.average_precision_interval(*scores) == pytest.approx(
    (8 / 13, 8 / 13)
  )


def test_too_few_images():
  assert intervals.auroc_interval(np.zeros(1), np.arange(5.0)) is None
  assert intervals.average_precision_interval(np.zeros(5), np.ones(1)) is None
  pair = np.zeros(5), np.ones(1)
  assert intervals.auroc_difference(pair, pair) is None


def paired(rng, size, shift_a, shift_b):
  """Two scores of the same images that share half their noise."""
  shared = rng.normal(size=(2, size))
  noise = rng.normal(size=(2, 2, size))
  shift = np.array([[0.0], [1.0]])
  return (
    tuple(shared + noise[0] + shift * shift_a),
    tuple(shared + noise[1] + shift * shift_b),
  )


def test_difference_has_its_level_and_its_power():
  rng = np.random.default_rng(7)
  null = [
    intervals.auroc_difference(*paired(rng, 80, 1.0, 1.0)).p < 0.05
    for _ in range(600)
  ]
  assert 0.025 <= np.mean(null) <= 0.08
  found = [
    intervals.auroc_difference(*paired(rng, 200, 2.0, 1.0)).p < 0.05
    for _ in range(100)
  ]
  assert np.mean(found) > 0.95


def test_difference_covers():
  rng = np.random.default_rng(8)
  cdf = statistics.NormalDist().cdf
  truth = cdf(1.5 / 2) - cdf(1.0 / 2)  # each score's noise has variance 2
  covered = 0
  for _ in range(600):
    low, high = intervals.auroc_difference(*paired(rng, 80, 1.5, 1.0)).interval
    covered += low <= truth <= high
  assert 0.925 <= covered / 600 <= 0.975


def test_pairing_sharpens_the_difference():
  """Treating the scores as independent would be far too careful."""
  rng = np.random.default_rng(9)
  a, b = paired(rng, 300, 1.2, 1.0)
  low, high = intervals.auroc_difference(a, b).interval
  error = (high - low) / (2 * 1.959964)
  parts = [
    np.sum([intervals._variance(p) for p in intervals._placements(*s)])
    for s in (a, b)
  ]
  assert error < 0.8 * np.sqrt(sum(parts))


def test_scores_that_rank_alike_do_not_differ():
  scores = gaussians(np.random.default_rng(10), 30, 1.0)
  doubled = tuple(np.exp(s) for s in scores)
  same = intervals.auroc_difference(scores, doubled)
  assert same == (0.0, (0.0, 0.0), 1.0)


def test_difference_without_variance_is_not_judged():
  low, high = np.arange(5.0), np.arange(5.0) + 10
  found = intervals.auroc_difference((low, high), (high, low))
  assert found == (1.0, None, None)


def test_a_design_effect_is_one_for_independent_cases():
  found = np.random.default_rng(0).random(400) < 0.4
  assert intervals.design_effect(
    found.astype(float), np.arange(400)
  ) == pytest.approx(1, abs=0.01)


def test_cases_that_say_the_same_count_once():
  rng = np.random.default_rng(1)
  whose = np.arange(200).repeat(5)
  alike = (rng.random(200) < 0.4).repeat(5).astype(float)
  assert intervals.design_effect(alike, whose) == pytest.approx(5, abs=0.1)
  # All found: nothing tells how alike they are, so the worst is taken.
  assert intervals.design_effect(np.ones(1000), whose) == 5
  assert intervals.design_effect(np.ones(3), np.zeros(3, int)) == 3


def test_rates_of_clusters_hold_the_truth():
  rng, held, naive = np.random.default_rng(2), 0, 0
  for _ in range(300):
    whose = np.arange(40).repeat(5)
    chance = rng.beta(1, 1, 40)[whose]  # on average one half
    found = (rng.random(200) < chance).astype(float)
    design = intervals.design_effect(found, whose)
    low, high = intervals.wilson_interval(found.sum() / design, 200 / design)
    held += low <= 0.5 <= high
    low, high = intervals.wilson_interval(found.sum(), 200)
    naive += low <= 0.5 <= high
  assert 0.91 <= held / 300 <= 0.99
  assert naive / 300 < 0.9


@pytest.mark.parametrize("kind", coverage_of_sets.KINDS)
def test_the_command_of_coverage_measures_each_kind(kind, monkeypatch, capsys):
  monkeypatch.setattr(coverage_of_sets, "_TRUTH", 400)
  monkeypatch.setattr(coverage_of_sets, "SIZES", (30,))
  monkeypatch.setattr(coverage_of_sets, "SHIFTS", (1.0,))
  arguments = [f"--of={kind}", "--draws=10", "--patients=2"]
  assert coverage.main(arguments) == 0
  _, line = capsys.readouterr().out.splitlines()
  assert line.startswith("  30 a class, shift 1: ")
  cells = line.partition(": ")[2].split(", ")
  shares = [float(cell.split()[-2]) for cell in cells]
  assert all(0.5 <= share <= 1 for share in shares), line

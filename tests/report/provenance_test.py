"""What a run ran on is told of its training and of its evaluation."""

from medad_jax.report import provenance

HERE = {
  "time": "2026-01-01T00:00:00Z",
  "versions": {"jax": "0.10.2"},
  "commit": "1" * 40,
  "devices": ["H100", "H100"],
  "processes": 1,
  "meshes": {"train": {"member": 2, "batch": 1}},
  "precision": "float32",
}
LAPTOP = HERE | {
  "time": "2026-01-02T00:00:00Z",
  "devices": ["cpu"],
  "meshes": {},
}


def test_a_run_trained_there_and_evaluated_here_says_both():
  (training, there), (evaluation, here) = provenance.rows([HERE], LAPTOP)
  assert training == "training, 2026-01-01T00:00:00Z"
  assert there == (
    "devices 2 x H100; processes 1; precision float32; commit "
    + "1" * 40
    + "; mesh of train member 2 x batch 1; jax 0.10.2"
  )
  assert evaluation == "evaluation, 2026-01-02T00:00:00Z"
  assert "devices 1 x cpu" in here and "H100" not in here


def test_a_continuation_names_what_differs():
  later = HERE | {"time": "2026-01-02T00:00:00Z"}
  newer = later | {"versions": {"jax": "0.12.0"}, "precision": "bfloat16"}
  _, (_, same), (what, other), _ = provenance.rows([HERE, later, newer], HERE)
  assert same == "with the same"
  assert what == "continued, 2026-01-02T00:00:00Z"
  assert (
    other == "precision bfloat16 (float32 before); jax 0.12.0 (0.10.2 before)"
  )


def test_a_training_that_was_not_recorded_is_said():
  (training, what), _ = provenance.rows([], HERE)
  assert (training, what) == ("training", "not recorded")

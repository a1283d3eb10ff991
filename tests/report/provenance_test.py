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
  assert (training, evaluation) == ("trained on", "evaluated on")
  assert there == (
    "2 × H100; float32; jax 0.10.2; commit "
    + "1" * 40
    + "; processes 1; mesh of train member 2 × batch 1; 2026-01-01T00:00:00Z"
  )
  assert here.startswith("1 × cpu; float32; jax 0.10.2") and "H100" not in here


def test_a_continuation_names_what_differs():
  later = HERE | {"time": "2026-01-02T00:00:00Z"}
  newer = later | {"versions": {"jax": "0.12.0"}, "precision": "bfloat16"}
  _, (_, same), (what, other), _ = provenance.rows([HERE, later, newer], HERE)
  assert same == "the same; 2026-01-02T00:00:00Z"
  assert what == "trained on (start 3)"
  assert other == (
    "precision bfloat16 (float32 before); jax 0.12.0 (0.10.2 before);"
    " 2026-01-02T00:00:00Z"
  )


def test_a_training_that_was_not_recorded_is_said():
  (training, what), _ = provenance.rows([], HERE)
  assert (training, what) == ("trained on", "not recorded")

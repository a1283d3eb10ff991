"""What other projects leave is read; what is none of it is one sentence."""

import pytest

from medad_jax.engine import outside
from medad_jax.types import UserError

SCORES = "# y_true, y_pred\n0.0,0.1\n0.0,0.4\n1.0,0.35\n1.0,0.8\n"


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


def test_ddad(tmp_path):
  folder = tmp_path / "AEU" / "BraTumor"
  write(
    folder / "results.txt",
    "Rec. (ensemble)  AUC:0.670  AP:0.651\n"
    "DDAD-intra       AUC:0.706  AP:0.700\n"
    "DDAD-inter       AUC:0.832  AP:0.820\n",
  )
  table = "epoch,AUC,AP\n0,0.5,0.5\n1,0.9,0.8\n2,0.85,0.7\n"
  write(folder / "refine" / "refine_dual_results.csv", table)
  [found] = outside.read(folder)
  assert found.dataset == "brain"
  assert found.values["ddad-aeu/rec", "auroc"] == 0.670
  assert found.values["ddad-aeu/inter", "ap"] == 0.820
  # The last epoch is the one that is saved, whatever epoch is best.
  assert found.values["ddad-aeu/r_dual", "auroc"] == 0.85
  [named] = outside.read(folder, "rsna", "mine")
  assert (named.dataset, ("mine/rec", "auroc") in named.values) == ("rsna", 1)


def test_medianomaly(tmp_path):
  run = tmp_path / "brats" / "ae"
  for fold, value in enumerate((0.8, 0.9)):
    text = f"AUC: {value}\nAP: 0.7\nPixAP: 0.3\nBestDice: 0.4\nBestThresh: 1\n"
    write(run / f"fold_{fold}" / "metrics.txt", text)
  found = outside.read(run)
  assert [one.values["ae", "auroc"] for one in found] == [0.8, 0.9]
  assert {one.dataset for one in found} == {"brats"}
  assert found[0].values["ae", "oracle_dice"] == 0.4
  assert [one.values for one in outside.read(run / "fold_1")] == [
    found[1].values
  ]


def test_dpa(tmp_path):
  write(tmp_path / "run_0" / "results.csv", "niter,ROC AUC\n3500,0.9247\n")
  [found] = outside.read(tmp_path / "run_0", "nih_subset", "dpa/wo_pg")
  assert found.values == {("dpa/wo_pg", "auroc"): 0.9247}


def test_files_of_scores(tmp_path):
  for seed in range(2):
    write(tmp_path / f"dpa_{seed}.txt", SCORES)
  found = outside.read(tmp_path)
  assert [*found[0].values] == [("dpa", "auroc"), ("dpa", "ap")]
  assert len(found) == 2
  assert found[0].values["dpa", "auroc"] == 0.75
  low, high = found[0].ends["dpa", "auroc"]
  assert low < 0.75 < high
  table = "id,name,label,rec@0,rec@1,flag\n0,a,0,1,2,no\n1,b,1,3,1,no\n"
  ours = outside.read(write(tmp_path / "ours" / "scores.csv", table))
  assert [one.values["rec", "auroc"] for one in ours] == [1.0, 0.0]


def test_normal_and_anomaly_apart(tmp_path):
  for kind, value in (("normal", 0.25), ("anomaly", 0.5)):
    text = f",Anomaly Scores\n0,{value}\n1,{value}\n"
    write(tmp_path / kind / "anomaly_scores.csv", text)
  [found] = outside.read(tmp_path)
  assert found.values[tmp_path.name, "auroc"] == 1.0


@pytest.mark.parametrize(
  ("name", "text", "says"),
  [
    ("notes.md", "nothing", "holds no results; give the work folder"),
    ("results.csv", "niter\n1\n", "results.csv of DPA .'ROC AUC'."),
    ("metrics.txt", "nothing", "no line 'AUC: value'"),
    ("scores.txt", "label,score\n0,1\n0,2\n", "one class is missing"),
    ("scores.csv", "label,score\n0,1\n1,x\n", "could not convert"),
  ],
)
def test_what_cannot_be_read_is_one_sentence(name, text, says, tmp_path):
  write(tmp_path / name, text)
  with pytest.raises(UserError, match=says):
    outside.read(tmp_path)

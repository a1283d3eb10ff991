"""AUROC by step of runs that kept their checkpoints.

  python -m medad_jax.main --config=configs/reconstruction.py:brain/ae \
      --config.seeds=3 --config.validation.share=0.1 --config.train.drop_last \
      --config.keep_checkpoints --workdir=runs/ae
  python -m medad_jax.by_step runs/ae runs/memae --out=by_step

Scores every checkpoint that a validation kept, and marks what the rules of
config.select would have chosen, beside the best step by test labels
(oracle_best). Training saw none of these labels.
"""

from medad_jax import files
from medad_jax.engine import by_step, cli
from medad_jax.report import by_step as report
from medad_jax.types import UserError

OUT = cli.define_path(
  "out", "by_step", "Folder of by_step.md, by_step.csv and by_step.png."
)


def main(words: list[str]) -> None:
  """Scores the runs, prints the table and writes the page."""
  if not words:
    raise UserError("no run was given; give one or more folders of runs.")
  files.make_folder(OUT.value)  # before anything takes time
  found = [by_step.curves(files.expanded(word)) for word in words]
  print(report.text(found))
  title = f"# python -m medad_jax.by_step {' '.join(words)}\n\n"
  files.write(OUT.value / "by_step.csv", report.csv_text(found))
  files.write(OUT.value / "by_step.md", title + report.markdown(found))
  files.write(OUT.value / "by_step.png", report.picture(found))
  print(f"\nby_step.md, .csv and .png are in {OUT.value}")


if __name__ == "__main__":
  cli.run(main, words=True)

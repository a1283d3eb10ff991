"""Runs beside what is published and beside each other.

  python -m medad_jax.compare runs/reconstruction_brain_vae runs/other
  python -m medad_jax.compare runs/mine "theirs/AE/rsna"
  python -m medad_jax.compare "theirs/run_0@nih_subset/dpa/pg" --out=compared

A RUN is the work folder of a run, or what one of the PyTorch projects left:
results.txt and refine_dual_results.csv of DDAD-ASR, metrics.txt of MedIAnomaly,
results.csv of DPA, or files with a label and a score an image. Runs that differ
in their seeds alone are taken as one. RUN@DATASET/METHOD says what a run is
where its path does not.
"""

from medad_jax import files
from medad_jax.engine import cli, compared
from medad_jax.report import comparison as report
from medad_jax.types import UserError

OUT = cli.define_path(
  "out", "compared", "Folder of comparison.md, comparison.csv and .png."
)


def main(words: list[str]) -> None:
  """Reads the runs, prints the table and writes it."""
  if not words:
    raise UserError("no run was given; give one or more folders of runs.")
  lines, pairs = compared.compared(words)
  print("\n".join([report.text(lines), *report.sentences(pairs)]))
  files.make_folder(OUT.value)
  title = f"# python -m medad_jax.compare {' '.join(words)}\n\n"
  picture = "\n![Ours and published](comparison.png)\n"
  between = "".join(f"\n- {text}\n" for text in report.sentences(pairs))
  page = title + report.markdown(lines) + between + picture
  files.write(OUT.value / "comparison.csv", report.csv_text(lines))
  files.write(OUT.value / "comparison.md", page)
  files.write(OUT.value / "comparison.png", report.picture(lines))
  print(f"\ncomparison.md, .csv and .png are in {OUT.value}")


if __name__ == "__main__":
  cli.run(main, words=True)

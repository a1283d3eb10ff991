"""Draws synthetic anomalies, for a person to judge them.

  python -m medad_jax.synthesize --method=nsa --data=brain --out=anomalies

writes a contact sheet: the image, what its patches are from, the image with
anomalies, and the label that a net learns to predict.
"""

from pathlib import Path

from absl import flags

from configs import ssl
from medad_jax.engine import cli, sheet

METHOD = flags.DEFINE_string("method", None, "A method of configs/ssl.py.")
DATA = flags.DEFINE_string("data", "phantom", "A data set.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where data sets are.")
OUT = flags.DEFINE_string("out", None, "Folder of the sheet.")
COUNT = flags.DEFINE_integer("count", 8, "Images on it.")
SEED = flags.DEFINE_integer("seed", 0, "Another seed draws other anomalies.")
flags.mark_flags_as_required(["method", "out"])


def main() -> None:
  """Reads the flags."""
  config = ssl.get_config(f"{DATA.value}/{METHOD.value}").to_dict()
  config["data"]["dir"] = DATA_DIR.value
  path = sheet.draw(config, Path(OUT.value), COUNT.value, SEED.value)
  print(f"{COUNT.value} examples are in {path}")


if __name__ == "__main__":
  cli.run(main)

"""Draws synthetic anomalies, for a person to judge them.

  python -m medad_jax.synthesize --method=nsa --data=brain --out=anomalies

writes a contact sheet: the image, what its patches are from, the image with
anomalies, and the label that a net learns to predict.
"""

from absl import flags

from medad_jax import shipped
from medad_jax.engine import cli, sheet

METHOD = flags.DEFINE_string("method", None, "A method of configs/ssl.py.")
DATA = flags.DEFINE_string("data", "phantom", "A data set.")
DATA_DIR = cli.define_path("data_dir", None, "Where data sets are.")
OUT = cli.define_path("out", None, "Folder of the sheet.")
COUNT = flags.DEFINE_integer("count", 8, "Images on it.")
SEED = flags.DEFINE_integer("seed", 0, "Another seed draws other anomalies.")
flags.mark_flags_as_required(["method", "out"])


def main() -> None:
  """Reads the flags."""
  ssl = shipped.module("configs.ssl")
  config = ssl.get_config(f"{DATA.value}/{METHOD.value}").to_dict()
  config["data"]["dir"] = DATA_DIR.value
  path = sheet.draw(config, OUT.value, COUNT.value, SEED.value)
  print(f"{COUNT.value} examples are in {path}")


if __name__ == "__main__":
  cli.run(main)

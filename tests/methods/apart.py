"""Every kind of method, trained by one of several processes.

  MODULE=tests.methods.apart launch/local.sh 2 --out=FILE

The first process leaves in FILE what all of them found (`contract_test.found`).
"""

from absl import flags
import numpy as np

from medad_jax.engine import cli, processes
from tests.methods import contract_test as contract

OUT = flags.DEFINE_string("out", None, "File of arrays (.npz).")


def main() -> None:
  """Trains one kind after another."""
  arrays = {
    f"{kind}/{part}": values
    for kind, name in contract.OF_KIND.items()
    for part, values in contract.found(name).items()
  }
  if processes.first():
    np.savez(OUT.value, **arrays)


if __name__ == "__main__":
  cli.run(main, several=True)

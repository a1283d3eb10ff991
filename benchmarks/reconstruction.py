"""Training one net of MedIAnomaly: this project beside PyTorch.

  python -m benchmarks.reconstruction
  python -m benchmarks.reconstruction --nets dae --size=64 --batch=2 --steps=1
  python -m benchmarks.reconstruction --nets ae --size=16 --normal=64 \
    --batch=8 --steps=2 --repeats=2 --no-compile

`ae` has images of 64x64 in batches of 64, `dae` of 128x128 in batches of 16,
unless set otherwise. Three sides train on the same generated images and take
turns, each in a process of its own: `ours` (the engine's own program), `eager`
(PyTorch as the published code uses it) and `tuned` (PyTorch as well as one
can). Steps are those of full batches. Ratios to ours are formed in every turn
and given with their spread; compilation and first steps are apart.
"""

import argparse
from collections.abc import Sequence
import sys

# As in `benchmarks.ddad`, jax is imported by `main` and no earlier.
from benchmarks import ddad, protocol
from benchmarks.protocol import positive

NETS = {"ae": (64, 64), "dae": (128, 16)}  # side of the images, batch
SIDES = ("ours", "eager", "tuned")


def main(argv: list[str] | None = None) -> int:
  """Prints steps and images a second of every net and side."""
  args = _parse(argv)
  from medad_jax.types import UserError

  names = SIDES if args.baseline == "torch" else SIDES[:1]
  try:
    for net in args.nets:
      side, batch = NETS[net]
      given = protocol.Protocol(
        normal=args.normal,
        unlabelled=0,
        tests=0,
        size=args.size or side,
        members=1,
        batch=args.batch or batch,
        precision=args.precision,
      )
      print(f"{net}:")
      ddad.race(_targets(net, names, given, args), given, ["training"], args)
  except UserError as error:
    print(f"benchmarks.reconstruction: {error}", file=sys.stderr)
    return 2
  return 0


def _targets(net, names: Sequence[str], given, args):
  module = "benchmarks.torch_reconstruction"
  settings = {
    "ours": ("benchmarks.jax_side:Reconstruction", (net, given)),
    "eager": (f"{module}:Eager", (net, given)),
    "tuned": (f"{module}:Tuned", (net, given, not args.no_compile)),
  }
  return {name: settings[name] for name in names}


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.reconstruction",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "--nets", nargs="+", choices=NETS, default=list(NETS), help="[all]"
  )
  parser.add_argument(
    "--baseline", choices=("torch", "none"), default="torch", help="[torch]"
  )
  parser.add_argument(
    "--normal", type=positive, default=3851, help="images [3851]"
  )
  parser.add_argument(
    "--size", type=positive, help="side of the images [64, dae 128]"
  )
  parser.add_argument(
    "--batch", type=positive, help="images a step [64, dae 16]"
  )
  ddad.add_turns(parser)
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())

"""Training steps of single methods: this project beside PyTorch.

  python -m benchmarks.methods
  python -m benchmarks.methods --methods dae --size=64 --batch=2 --steps=1
  python -m benchmarks.methods --methods dpa --batch=32 --steps=2
  python -m benchmarks.methods --methods ae --size=16 --normal=64 \\
    --batch=8 --steps=2 --repeats=2 --no-compile

Images and batches are those of the published settings, unless set otherwise.
`dpa` is DPA without growing, its net for NIH's subset; its features and those
of `piad` are relu4_2 of a random VGG19. A step of `piad` has two batches of its
critics and one of its net, a step of `fanogan` is a round of its GAN (the
critic five times), and a step of `cutpaste-2s` has images and a view of each,
which only this project makes. Three sides train on the same generated images
and take turns, as in `benchmarks.ddad`: `ours` (the engine's own program),
`eager` (PyTorch as the published code uses it) and `tuned` (PyTorch as well as
one can, the last four without `torch.compile`). Steps are those of full
batches.
"""

import sys

# As in `benchmarks.ddad`, no module here imports jax.
from benchmarks import ddad, protocol

# Module of PyTorch's sides, side of the images, batch.
METHODS = {
  "ae": ("torch_reconstruction", 64, 64),
  "dae": ("torch_reconstruction", 128, 16),
  "dpa": ("torch_dpa", 64, 128),
  "ra": ("torch_methods", 128, 8),
  "piad": ("torch_methods", 64, 32),
  "fanogan": ("torch_methods", 64, 64),
  "cutpaste-2s": ("torch_methods", 224, 64),
}


def main(argv: list[str] | None = None) -> int:
  """Prints steps and images a second of every method and side."""
  parser = ddad.make_parser("methods", __doc__, ("ours", "eager", "tuned"))
  parser.add_argument(
    "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="[all]"
  )
  ddad.add_number(parser, "normal", "images [3851]", 3851)
  ddad.add_number(parser, "size", "side of the images [as published]")
  ddad.add_number(parser, "batch", "images a step [as published]")
  args = parser.parse_args(argv)
  for name in args.methods:
    module, side, batch = METHODS[name]
    given = protocol.Protocol(
      normal=args.normal,
      unlabelled=0,
      tests=0,
      size=args.size or side,
      members=1,
      batch=args.batch or batch,
      precision=args.precision,
    )
    compiles = not args.no_compile
    which = () if name == "dpa" else (name,)
    targets = {
      "ours": ("benchmarks.jax_side:Single", (name, given)),
      "eager": (f"benchmarks.{module}:Eager", (*which, given)),
      "tuned": (f"benchmarks.{module}:Tuned", (*which, given, compiles)),
    }
    print(f"{name}:")
    ddad.race(parser, args, targets, given, ["training"])
  return 0


if __name__ == "__main__":
  sys.exit(main())

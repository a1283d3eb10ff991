"""Training one net, of MedIAnomaly or DPA: this project beside PyTorch.

  python -m benchmarks.reconstruction
  python -m benchmarks.reconstruction --nets dae --size=64 --batch=2 --steps=1
  python -m benchmarks.reconstruction --nets dpa --batch=32 --steps=2
  python -m benchmarks.reconstruction --nets ae --size=16 --normal=64 \\
    --batch=8 --steps=2 --repeats=2 --no-compile

`ae` has images of 64x64 in batches of 64, `dae` of 128x128 in batches of 16 and
`dpa` of 64x64 in batches of 128, unless set otherwise; that is DPA without
growing, its net for NIH's subset, judged by relu4_2 of a random VGG19. Three
sides train on the same generated images and take turns, as in
`benchmarks.ddad`: `ours` (the engine's own program), `eager` (PyTorch as the
published code uses it) and `tuned` (PyTorch as well as one can). Steps are
those of full batches.
"""

import sys

# As in `benchmarks.ddad`, no module here imports jax.
from benchmarks import ddad, protocol

# Side of the images, batch.
NETS = {"ae": (64, 64), "dae": (128, 16), "dpa": (64, 128)}


def main(argv: list[str] | None = None) -> int:
  """Prints steps and images a second of every net and side."""
  parser = ddad.make_parser(
    "reconstruction", __doc__, ("ours", "eager", "tuned")
  )
  parser.add_argument(
    "--nets", nargs="+", choices=NETS, default=list(NETS), help="[all]"
  )
  ddad.add_number(parser, "normal", "images [3851]", 3851)
  ddad.add_number(parser, "size", "side of the images [64, dae 128]")
  ddad.add_number(parser, "batch", "images a step [64, dae 16, dpa 128]")
  args = parser.parse_args(argv)
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
    compiles = not args.no_compile
    if net == "dpa":
      module, which = "benchmarks.torch_dpa", ()
    else:
      module, which = "benchmarks.torch_reconstruction", (net,)
    targets = {
      "ours": ("benchmarks.jax_side:Reconstruction", (net, given)),
      "eager": (f"{module}:Eager", (*which, given)),
      "tuned": (f"{module}:Tuned", (*which, given, compiles)),
    }
    print(f"{net}:")
    ddad.race(parser, args, targets, given, ["training"])
  return 0


if __name__ == "__main__":
  sys.exit(main())

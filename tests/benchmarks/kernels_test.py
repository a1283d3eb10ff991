"""What counts as a kernel in the text of a compiled program."""

from benchmarks import kernels

# As XLA prints a program for a GPU, much shortened.
TEXT = """HloModule jit_step, is_scheduled=true

%body (a: f32[1]) -> f32[1] {
  %a = f32[1]{0} parameter(0)
  ROOT %copy.9 = f32[1]{0} copy(%a)
}

ENTRY %main.1 (x: f32[2,3], y: f32[3]) -> (f32[2], /*index=1*/f32[2]) {
  %x = f32[2,3]{1,0} parameter(0)
  %y = f32[3]{0} parameter(1)
  %one = (f32[2,3]{1,0}, u8[4]{0}) custom-call(%x, %y), \
custom_call_target="__cudnn$convForward", backend_config={}
  %g = f32[2,3]{1,0} get-tuple-element(%one), index=0
  %two = (f32[2]{0}, /*index=1*/f32[2]{0}) fusion(%g), kind=kInput, \
calls=%body
  %three = f32[2]{0} fusion(%g), kind=kLoop, calls=%body
  %four = f32[2,2]{1,0} fusion(%g, %y), kind=kCustom, calls=%body
  %five = f32[2]{0} copy(%three)
  %six = f32[2]{0} sort(%five), dimensions={0}
  ROOT %tuple = (f32[2]{0}, f32[2]{0}) tuple(%six, %five)
}
"""


def test_every_kernel_is_counted_once():
  assert kernels.count(TEXT) == {
    "convolutions": 1,
    "products": 1,
    "reductions": 1,
    "loops": 1,
    "copies": 1,
    "others": 1,
  }

"""Counts of programs, from their text."""

from collections import Counter

import jax
from jax import lax
import jax.numpy as jnp
import pytest

from benchmarks import hlo, kernels

# What XLA writes for GPUs, cut to what is read.
TEXT = """HloModule jit_step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

%fused_add (param_0: f32[8], param_1: f32[8]) -> f32[8] {
  %param_0 = f32[8]{0} parameter(0)
  %param_1 = f32[8]{0} parameter(1)
  ROOT %add.1 = f32[8]{0} add(%param_0, %param_1)
}

%fused_reduce (param_0.2: f32[8]) -> (f32[8], f32[]) {
  %param_0.2 = f32[8]{0} parameter(0)
  %zero = f32[] constant(0)
  %sum.1 = f32[] reduce(%param_0.2, %zero), dimensions={0}, to_apply=%sum
  ROOT %both = (f32[8]{0}, f32[]) tuple(%param_0.2, %sum.1)
}

%gemm_computation (param_0.3: f32[4,8]) -> f32[4,4] {
  %param_0.3 = f32[4,8]{1,0} parameter(0)
  ROOT %dot = f32[4,4]{1,0} dot(%param_0.3, %param_0.3), \
lhs_contracting_dims={1}, rhs_contracting_dims={1}, \
operand_precision={highest,highest}
}

%rows (param_0.4: u8[100,64], param_1.4: s32[3]) -> f32[3,64] {
  %param_0.4 = u8[100,64]{1,0} parameter(0)
  %param_1.4 = s32[3]{0} parameter(1)
  %gather = u8[3,64]{1,0} gather(%param_0.4, %param_1.4), slice_sizes={1,64}
  ROOT %convert = f32[3,64]{1,0} convert(%gather)
}

%body (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %arg = (s32[], f32[8]{0}) parameter(0)
  %one = f32[8]{0} get-tuple-element(%arg), index=1
  %fusion.9 = f32[8]{0} fusion(%one, %one), kind=kLoop, calls=%fused_add
}

%condition (arg.1: (s32[], f32[8])) -> pred[] {
  %arg.1 = (s32[], f32[8]{0}) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main.1 (p.0: f32[8], p.1: f32[8]) -> (f32[8], f32[8]) {
  %p.0 = f32[8]{0} parameter(0), metadata={op_name="dot(x)"}
  %p.1 = f32[8]{0} parameter(1)
  %p.2 = f32[4,8]{1,0} parameter(2)
  %x = f32[2,8,8,6]{3,2,1,0} parameter(3)
  %k = f32[4,2,2,3]{3,2,1,0} parameter(4)
  %images = u8[100,64]{1,0} parameter(5)
  %at = s32[3]{0} parameter(6)
  %fusion = f32[8]{0} fusion(%p.0, %p.1), kind=kLoop, calls=%fused_add, \
metadata={op_name="jit(step)/encoder/add"}
  %fusion.1 = (f32[8]{0}, /*index=1*/f32[]) fusion(%p.0), kind=kInput, \
calls=%fused_reduce
  %gemm = (f32[4,4]{1,0}, s8[64]) custom-call(%p.2, %p.2), \
custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":\
{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]},\
"precision_config":{"operand_precision":["HIGH","HIGH"]}}}
  %conv = (f32[2,7,7,4]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k), \
window={size=2x2}, dim_labels=b01f_o01i->b01f, feature_group_count=2, \
operand_precision={highest,highest}, custom_call_target="__cudnn$convForward"
  %triton = f32[4,4]{1,0} fusion(%p.2), kind=kCustom, calls=%gemm_computation
  %batch = f32[3,64]{1,0} fusion(%images, %at), kind=kLoop, calls=%rows
  %start = f32[8]{0} all-reduce-start(%fusion), to_apply=%sum
  %done = f32[8]{0} all-reduce-done(%start)
  %copy.2 = f32[8]{0} copy(%done)
  %view = f32[2,4]{1,0} bitcast(%copy.2)
  %t = (s32[], f32[8]{0}) tuple(%p.0, %copy.2)
  %loop = (s32[], f32[8]{0}) while(%t), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %tuple = (f32[8]{0}, f32[8]{0}) tuple(%copy.2, %fusion)
}
"""


def test_kinds_are_told_apart():
  found = kernels.count(TEXT)
  assert found.kinds == Counter(
    {
      "loops": 7,  # five of them in the loop
      "reductions": 1,
      "products": 2,
      "convolutions": 1,
      "copies": 1,
      "all-reduce": 1,
    }
  )
  assert found.library == 2
  assert found.collectives["all-reduce"] == 1 and found.moved == 32


def test_operations_of_libraries_and_fusions_have_their_precision():
  found = kernels.count(TEXT).operations
  # Of a convolution 2 x 49 x 4 outputs, of three channels and four taps.
  assert found["float32"] == 2 * (4 * 4 * 8) + 2 * (2 * 49 * 4) * 3 * 4
  assert found["tensorfloat32"] == 2 * (4 * 4 * 8)


def test_bytes_are_those_of_operands_and_results():
  found = {kernel.source: kernel for kernel in kernels.listed(TEXT)}
  assert found["jit(step)/encoder/add"].bytes == 3 * 32
  by_kind = {}
  for kernel in kernels.listed(TEXT):
    by_kind.setdefault(kernel.kind, []).append(kernel.bytes)
  assert by_kind["reductions"] == [2 * 32 + 4]
  # Without the library's room to work in.
  assert by_kind["products"] == [2 * 128 + 64, 128 + 64]
  # Three rows of a hundred, their numbers, and the result.
  assert by_kind["loops"][1] == 3 * 64 + 3 * 4 + 3 * 64 * 4


def test_what_is_written_in_its_place_is_not_read():
  def function(x, row, at):
    return lax.dynamic_update_slice(x, 2 * row, (at, 0))

  shapes = jnp.ones((1000, 8)), jnp.ones((1, 8)), jnp.int32(3)
  compiled = jax.jit(function, donate_argnums=0).lower(*shapes).compile()
  assert kernels.count(compiled.as_text()).bytes < 4 * 8 * 4


def convolved(x, kernel):
  return lax.conv_general_dilated(
    x,
    kernel,
    (2, 2),
    ((1, 1), (1, 1)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=2,
  )


def multiplied(x, kernel):
  return jnp.einsum("bhwi,hwio->bwo", x, kernel)


@pytest.mark.parametrize("function", [convolved, multiplied])
@pytest.mark.parametrize("gradient", [False, True])
def test_counts_are_those_of_jax(function, gradient):
  """Compare the counts of a host's program with XLA's own analysis."""
  x = jnp.ones((3, 8, 8, 4))
  kernel = jnp.ones((4, 4, 2, 6) if function is convolved else (8, 8, 4, 6))

  def pulled(x, kernel):
    y, pull = jax.vjp(function, x, kernel)
    return pull(y)

  shapes = x, kernel
  compiled = jax.jit(pulled if gradient else function).lower(*shapes).compile()
  found, costs = kernels.count(compiled.as_text()), compiled.cost_analysis()
  assert sum(found.operations.values()) == pytest.approx(
    costs["flops"], rel=0.01
  )
  assert found.bytes == pytest.approx(costs["bytes accessed"], rel=0.05)


def test_shapes_have_their_bytes():
  text = "(f32[2,3]{1,0}, bf16[4]{0}, pred[5]{0}, s4[6]{0}, token[])"
  assert [x.bytes for x in hlo.shapes(text)] == [24, 8, 5, 3, 0]

"""Kernels of programs, counted from their text."""

from collections import Counter

import jax
import jax.numpy as jnp

from benchmarks import kernels

# What XLA writes for GPUs, cut to what is read.
TEXT = """HloModule jit_step, is_scheduled=true

%fused_add (param_0: f32[8], param_1: f32[8]) -> f32[8] {
  %param_0 = f32[8]{0} parameter(0)
  ROOT %add.1 = f32[8]{0} add(%param_0, %param_1)
}

%body (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %arg = (s32[], f32[8]{0}) parameter(0)
  %fusion.9 = f32[8]{0} fusion(%arg), kind=kLoop, calls=%fused_add
}

%condition (arg.1: (s32[], f32[8])) -> pred[] {
  ROOT %less = pred[] compare(%a, %b), direction=LT
}

ENTRY %main.1 (p.0: f32[8], p.1: f32[8]) -> (f32[8], f32[8]) {
  %p.0 = f32[8]{0} parameter(0), metadata={op_name="dot(x)"}
  %fusion = f32[8]{0} fusion(%p.0, %p.1), kind=kLoop, calls=%fused_add
  %fusion.1 = (f32[8]{0}, /*index=1*/f32[]) fusion(%p.0), kind=kInput, calls=%r
  %gemm = (f32[8], s8[64]) custom-call(%p), custom_call_target="__cublas$gemm"
  %conv = (f32[8], u8[0]) custom-call(%p), custom_call_target="__cudnn$conv"
  %triton = f32[8]{0} fusion(%p.0), kind=kCustom, calls=%g
  %start = f32[8]{0} all-reduce-start(%fusion), to_apply=%sum
  %done = f32[8]{0} all-reduce-done(%start)
  %copy.2 = f32[8]{0} copy(%done)
  %view = f32[2,4]{1,0} bitcast(%copy.2)
  %loop = (s32[], f32[8]{0}) while(%t), condition=%condition, body=%body
  ROOT %tuple = (f32[8]{0}, f32[8]{0}) tuple(%copy.2, %fusion)
}
"""


def test_kinds_are_told_apart():
  assert kernels.count(TEXT) == Counter(
    {
      "loops": 2,  # one of them in the loop's body
      "reductions": 1,
      "products": 2,
      "convolutions": 1,
      "copies": 1,
      "all-reduce": 1,
    }
  )


def test_a_program_of_the_host_is_read():
  @jax.jit
  def function(x):
    return jnp.sin(x @ x).sum()

  found = kernels.count(function.lower(jnp.ones((64, 64))).compile().as_text())
  assert sum(found.values()) >= 2
  assert found["products"] + found["others"] >= 1

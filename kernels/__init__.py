"""Hot loops: pure functions on raw arrays, one table of them per kind of device.

A kernel is a faster forward of one op, or of one formula of a derivative rule (``ops/fused.py``).
It knows no Tensor and no tape. It promises:

- **The reference's call.** ``kernel(*arrays, **params)`` is the op's ``forward(xp, *arrays,
  **params)`` without ``xp``: the same meaning, dtypes and shapes, for any memory layout.
- **Nothing hidden.** It changes its op's declared writes and nothing else, and never returns one
  of its inputs.
- **Non-finite values survive.** A nan or an infinity comes out where the reference has one.
- **It may decline.** What it does not handle (a dtype, a layout), what is so small that the
  reference is faster, and what the reference must report as an error (a label out of range) returns
  ``NotImplemented``, with nothing changed. The reference then runs, and raises if it has to.
- **The same bits** for the same inputs and the same number of threads.

On a GPU a kernel takes the device that it runs on before its arrays, and nobody waits to hear what
it found: it notes an error of values in the device's slot, and goes on with nan.

For whoever writes one: the file opens with what it computes, how it walks memory, how much
arithmetic that is for each byte and what was measured; the function is registered with calls that
run all of its loops, from which tests and ``warmup`` live.
"""

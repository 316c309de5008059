"""How many threads parallel kernels may use: apart, so that setting it loads no compiler."""

limit: int | None = None

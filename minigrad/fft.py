"""Fourier transforms, by the names of the array API standard."""

from typing import TYPE_CHECKING

from .ops.fft import (
    fft,
    fftfreq,
    fftn,
    fftshift,
    hfft,
    ifft,
    ifftn,
    ifftshift,
    ihfft,
    irfft,
    irfftn,
    rfft,
    rfftfreq,
    rfftn,
)
from .spellings import no_such_function

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

if not TYPE_CHECKING:  # for whom it would give every name a type

    def __getattr__(name: str) -> object:
        raise no_such_function(name, __all__, __name__)

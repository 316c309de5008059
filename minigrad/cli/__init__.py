"""The command line: minigrad train | evaluate | predict | generate | info.

What cannot be done is one line on standard error and exit code 2.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from ..messages import did_you_mean
from . import info, judging, training
from .parsing import Parser, Refusal, complain, reason, unknown

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after an error, 130 after Ctrl-C."""
    _prepare_streams()
    try:
        args = _parsed(sys.argv[1:] if argv is None else argv)
        if args is not None:
            args.run(args)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt as interruption:
        return complain(f"interrupted{interruption}", 130)
    except MemoryError as error:
        return complain(f"error: not enough memory: {error}", 2)
    except OSError as error:
        return complain(f"error: {reason(error)}", 2)
    except (Refusal, FloatingPointError, ImportError, ValueError) as error:
        # ImportError: an extra is missing.
        return complain(f"error: {error}", 2)
    return 0


def _prepare_streams() -> None:
    """Let any name be printed, and nothing where a stream was closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parsed(argv: Sequence[str]) -> argparse.Namespace | None:
    """Return the options of a command and, as `run`, what carries it out.

    None after --help and --version, which print by themselves.
    """
    parser = Parser(
        "minigrad",
        description="Automatic differentiation from scratch: train a network, or look around.",
        epilog="example:\n  minigrad train",
    )
    version = f"minigrad {info.version()}"
    parser.add_argument("--version", action="version", version=version, help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (training, judging, info):
        module.add_commands(commands)
    known: dict[str, Parser] = commands.choices
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        parser.error(unknown("command", argv[0], known))
    try:
        args, strangers = parser.parse_known_args(argv)
    except SystemExit:
        return None
    if "run" not in args:
        parser.error(f"expected a command, one of {', '.join(known)}")
    if strangers:
        command = known[next(word for word in argv if word in known)]
        name = strangers[0].partition("=")[0]
        names = [option for option in command._option_string_actions if option.startswith("--")]
        command.error(f"unknown option {name!r}{did_you_mean(name, names)}")
    return args

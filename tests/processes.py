"""Processes that a test interrupts."""

import os
import signal
import subprocess


def start(command, **options):
    """Start a command that hears Ctrl-C, unlike the children of a shell's background jobs."""
    if os.name != "nt":
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, text=True, **options)

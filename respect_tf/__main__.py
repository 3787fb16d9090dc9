"""`python -m respect_tf`, and what the command `respect-tf` starts."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    # Until it is there, Ctrl-C ends the process at once, without a traceback through the imports.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from respect_tf.cli import main as run

    run(prog_name="respect-tf")


if __name__ == "__main__":
    main()

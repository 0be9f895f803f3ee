"""What a daemon says: one line at a time on standard error, which a service's log keeps."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """One line, whatever the message holds."""
    sys.stderr.write(f"sigdca: {' '.join(message.split())}\n")
    sys.stderr.flush()

"""One line out of the many that Ray gives when work fails."""

from __future__ import annotations

import re

_OURS = re.compile(r"^\s*sigdca\.errors\.\w+: (.+)$", re.MULTILINE)


def root_cause(error: BaseException) -> str:
    """The line that says what happened: one of sigdca's own errors, else the last line."""
    failures = list((getattr(error, "worker_failures", None) or {}).values())
    causes = [getattr(failure, "cause", None) or failure for failure in failures]
    # Ray Data's causes do not say what they were caused by, its failures do.
    texts = [str(found) for found in [*causes, *failures, error] if str(found).strip()]
    for text in texts:
        if ours := _OURS.findall(text):
            return str(ours[-1]).strip()
    return texts[0].strip().splitlines()[-1].strip() if texts else type(error).__name__

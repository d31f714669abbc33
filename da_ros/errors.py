# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The one base class of every error that a user can cause and mend, and what others say."""

from __future__ import annotations

import sys
from types import TracebackType


class DaRosError(Exception):
    """Base of all errors with a one-line message that names the value and the remedy."""


def reason_of(error: BaseException, line: int = 0) -> str:
    """
    Return one line of the message of an error that is not ours, its type where it says nothing.

    :param line: which; libraries that begin with their own source lines say the cause in the last
    """
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    return lines[line] if lines else type(error).__name__


def tell_interrupts() -> None:
    """
    Let a Ctrl-C that nobody takes end the process with one line; else nothing changes.

    Packages of commands call it first, because the imports of a command take seconds.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print('interrupted', file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)

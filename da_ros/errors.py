"""The one base class of every error that a user can cause and mend."""


class DaRosError(Exception):
    """Base of all errors with a one-line message that names the value and the remedy."""

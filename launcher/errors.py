"""What can go wrong before and around the processes that the launcher starts."""

from __future__ import annotations

from typing import ClassVar

from foundation.errors import PrivySealError


class LauncherError(PrivySealError):
    """Base of the launcher's errors; never raised itself. ``exit_code`` is what the command ends with."""

    code = "launcher"
    exit_code: ClassVar[int] = 1


class UnknownCommandError(LauncherError):
    """`privyseal NAME` with a name that is no entry point."""

    code = "unknown_command"
    exit_code = 2


class NotInstalledError(LauncherError):
    """The distribution's metadata, and with it the list of commands, is missing."""

    code = "not_installed"


class StateRefusedError(LauncherError):
    """The state directory is not one of ours, or the service users cannot enter it, or it was made otherwise."""

    code = "state_refused"
    exit_code = 2


class PortTakenError(LauncherError):
    """Something else listens where a service of the demo should."""

    code = "port_taken"
    exit_code = 4


class ChildFailedError(LauncherError):
    """A process died, or was not ready in time; the text ends with the tail of its log."""

    code = "child_failed"
    exit_code = 5


class StepFailedError(LauncherError):
    """A step of the preparation ended with an error; the text ends with its output."""

    code = "step_failed"
    exit_code = 6

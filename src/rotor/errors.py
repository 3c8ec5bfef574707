"""Every error that Rotor raises on purpose, in one shallow tree under `RotorError`."""

from __future__ import annotations

from datetime import timedelta

__all__ = [
    "RotorError",
    "NonRetriableError",
    "RetryAfterError",
    "StepError",
    "StepMismatchError",
    "SerializationError",
    "PayloadError",
    "WorkflowFailedError",
    "WorkflowTimeoutError",
    "WorkflowCancelledError",
    "SignalTimeoutError",
    "SignalConflictError",
    "UnknownFunctionError",
    "LimitError",
    "ExpressionError",
    "DurationError",
    "SignatureError",
    "ApiError",
    "ConnectionLostError",
    "ConfigError",
]


class RotorError(Exception):
    """The root of every error that Rotor raises."""


class NonRetriableError(RotorError):
    """Raise it in a step or a workflow to fail at once, whatever retries are left."""


class RetryAfterError(RotorError):
    """Raise it in a step or a workflow to be tried again after `retry_after` (seconds or a timedelta), not after the
    usual backoff."""

    def __init__(self, message: str, retry_after: float | timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after if isinstance(retry_after, timedelta) else timedelta(seconds=retry_after)


class DurableError(RotorError):
    """An outcome that is recorded: raised again on every replay, so that trying the body again cannot change it."""

    def __init__(self, message: str, *, name: str = "", stack: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.name = name or type(self).__name__
        """The class name of the cause."""
        self.stack = stack
        """The traceback of the cause as text, where there is one."""


class StepError(DurableError):
    """A step used up its retries. `name`, `message` and `stack` are those of the last cause."""


class WorkflowFailedError(DurableError):
    """An invoked workflow failed. `name`, `message` and `stack` are those of its error."""


class WorkflowTimeoutError(DurableError):
    """An invoked workflow did not end within the `timeout` of `step.invoke`."""


class WorkflowCancelledError(DurableError):
    """An invoked workflow was cancelled."""


class SignalTimeoutError(DurableError):
    """No completion of the signal arrived within the `timeout` of `step.wait_for_signal`."""


class SignalConflictError(DurableError):
    """Another run already waits for the signal id."""


class UnknownFunctionError(DurableError):
    """`step.invoke` names a function that the workspace does not have."""


class SerializationError(DurableError):
    """A value cannot be stored as JSON: the step fails at once, since running it again would not help."""


class StepMismatchError(DurableError):
    """A step id was recorded by another operation than the one that now asks for it."""


class LimitError(DurableError):
    """A limit of `rotor.limits` is exceeded; the message names it."""


class PayloadError(RotorError):
    """Text that is not JSON within the limits. `reason` says what is wrong with it, without the text itself."""


class ExpressionError(RotorError):
    """A match expression that is not CEL, or is beyond its limits."""


class DurationError(RotorError, ValueError):
    """A duration that cannot be read, is negative, or is over the limit."""


class SignatureError(RotorError):
    """A signed request whose signature, time or headers do not hold."""


class ConnectionLostError(RotorError):
    """The server could not be reached, or went away before it answered."""


class ApiError(RotorError):
    """The server refused a request.

    `status` is the HTTP status, `detail` its reason, `errors` the fields at fault as (field, message) pairs.
    """

    def __init__(self, status: int, title: str, detail: str = "", errors: list[tuple[str, str]] | None = None) -> None:
        fields = "; ".join(f"{field}: {message}" for field, message in errors or [])
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else "") + (f" ({fields})" if fields else ""))
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors or []


class ConfigError(RotorError):
    """A setting, an argument or a file of the user that cannot be used; the message says which and what to do."""

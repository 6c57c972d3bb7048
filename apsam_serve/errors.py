"""Every error this package raises on purpose.

ApsamError
├── InvalidInputError(ValueError)   the caller's input can never work; change it
│   ├── InvalidImageError           bytes that are no image, or an image over the limits
│   ├── InvalidPromptError          points, boxes or options that do not fit the image
│   └── OutputExistsError           a folder to be written is there already
├── HandleGoneError(LookupError)    the encoded image is no longer held; encode it again
├── OverloadedError                 a queue or the store is full; retry after `retry_after_s`
├── DeadlineExceededError           the caller's deadline passed before the work could start
├── NotServingError                 the service is loading or draining; use another one
├── ModelFaultError                 the graphs answered what is no number; no mask is trusted
├── BundleError                     a bundle is incomplete, changed, or of an unknown format
│   ├── UnverifiedBuildError        a build that nobody has held to its checkpoint
│   └── SignatureError              a bundle is not signed, or not by the key that was asked for
└── BackendUnavailableError         the back end, device or provider asked for is not there

`reason` is the machine-readable name that clients receive; the text is for people and holds the
value, what was expected and the fix.
"""


class ApsamError(Exception):
    """Base of all deliberate errors."""

    reason = "INTERNAL"


class InvalidInputError(ApsamError, ValueError):
    """Raised by validators; the same call will fail again."""

    reason = "INVALID_INPUT"


class InvalidImageError(InvalidInputError):
    """Raised by `contract.images` and `contract.preprocess`."""

    reason = "INVALID_IMAGE"


class InvalidPromptError(InvalidInputError):
    """Raised by `contract.prompts` and `prompting`."""

    reason = "INVALID_PROMPT"


class OutputExistsError(InvalidInputError):
    """Raised by `contract.folders`; nothing was written."""

    reason = "OUTPUT_EXISTS"


class HandleGoneError(ApsamError, LookupError):
    """Raised by `engine.store`. `reason` is UNKNOWN, EXPIRED, EVICTED or RELEASED."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class OverloadedError(ApsamError):
    """Raised by `engine` when a bound is reached; nothing was started."""

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(ApsamError):
    """Raised by `engine.batcher` for a job whose deadline passed while it waited."""

    reason = "DEADLINE_EXCEEDED"


class NotServingError(ApsamError):
    """Raised by `engine.engine` before opening and while draining."""

    reason = "NOT_SERVING"


class ModelFaultError(ApsamError):
    """Raised by `engine.compute` for NaN or infinity; check the bundle and its precision. Remote
    callers get an incident number, like for every fault of a server."""

    reason = "MODEL_FAULT"


class BundleError(ApsamError):
    """Raised by `contract.manifest`; the message names the file."""

    reason = "BAD_BUNDLE"


class UnverifiedBuildError(BundleError):
    """Raised by `runtime.builds`; verify the build on this machine, or choose another."""

    reason = "UNVERIFIED_BUILD"


class SignatureError(BundleError):
    """Raised by `signing`; nothing of the bundle was loaded."""

    reason = "BAD_SIGNATURE"


class BackendUnavailableError(ApsamError):
    """Raised by `runtime`; the message lists what exists on this machine."""

    reason = "BACKEND_UNAVAILABLE"

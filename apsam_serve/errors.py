"""Every error this package raises on purpose.

ApsamError
├── InvalidInputError(ValueError)   the caller's input can never work; change it
│   ├── InvalidImageError           bytes that are no image, or an image over the limits
│   ├── InvalidPromptError          points, boxes or options that do not fit the image
│   ├── RequestIdReusedError        a request id came again with another request
│   └── OutputExistsError           a folder to be written is there already
├── UnauthenticatedError            the caller has no identity that the server knows
├── PermissionDeniedError           the caller's identity may not call this method
├── HandleGoneError(LookupError)    the encoded image is no longer held; encode it again
│   └── MaskGoneError               the mask to refine is no longer held; click again
├── OverloadedError                 a queue or the store is full; retry after `retry_after_s`
│   ├── RateLimitedError            this identity calls too often
│   └── OutOfMemoryError            the device had no room; retry, or serve a smaller model
├── DeadlineExceededError           the caller's deadline passed before the work could start
├── NotServingError                 the service is loading or draining; use another one
│   └── AuditFailedError            the audit log cannot be written; free its disk
├── ModelFaultError                 the graphs answered what is no number; no mask is trusted
├── DeviceFaultError                the device failed; the log has its words
├── AuditBrokenError                an audit log was changed, cut or mixed up
├── BundleError                     a bundle is incomplete, changed, or of an unknown format
│   ├── UnverifiedBuildError        a build that nobody has held to its checkpoint
│   └── SignatureError              a bundle is not signed, or not by the key that was asked for
├── ProjectError                    a console's project is damaged, foreign, or cannot be written
├── NotInProjectError(LookupError)  the project has no such image or object
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


class RequestIdReusedError(InvalidInputError):
    """Raised by `service.replays`; give every new request an id of its own."""

    reason = "REQUEST_ID_REUSED"


class OutputExistsError(InvalidInputError):
    """Raised by `contract.folders`; nothing was written."""

    reason = "OUTPUT_EXISTS"


class UnauthenticatedError(ApsamError):
    """Raised by `service.identity`; come with a certificate that the server trusts."""

    reason = "UNAUTHENTICATED"


class PermissionDeniedError(ApsamError):
    """Raised by `service.access`; the server's list of permissions does not have this call."""

    reason = "PERMISSION_DENIED"


class HandleGoneError(ApsamError, LookupError):
    """Raised by `engine.store`. `reason` is UNKNOWN, EXPIRED, EVICTED, DELETED, OWNER_LOST (another
    process, or another life of this one, held it) or MODEL_CHANGED."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class MaskGoneError(HandleGoneError):
    """Raised by `engine.mask_planes`; the image itself is still held. `reason` is MASK_GONE."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="MASK_GONE")


class OverloadedError(ApsamError):
    """Raised by `engine` when a bound is reached; nothing was started."""

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitedError(OverloadedError):
    """Raised by `service.access`; nothing was started."""

    reason = "RATE_LIMITED"


class OutOfMemoryError(OverloadedError):
    """Raised by `runtime` and `ops` when the device has no memory left; the call had no effect."""

    reason = "OUT_OF_MEMORY"


class DeadlineExceededError(ApsamError):
    """Raised by `engine.batcher` for a call whose deadline passes while it waits."""

    reason = "DEADLINE_EXCEEDED"


class NotServingError(ApsamError):
    """Raised by `engine.engine` before opening and while draining."""

    reason = "NOT_SERVING"


class AuditFailedError(NotServingError):
    """Raised by `service.audit`; what cannot be recorded is not answered."""

    reason = "AUDIT_FAILED"


class ModelFaultError(ApsamError):
    """Raised by `engine.compute` for NaN or infinity; check the bundle and its precision."""

    reason = "MODEL_FAULT"


class DeviceFaultError(ApsamError):
    """Raised by `runtime` and `ops` when the device fails at work; the engine then tries by
    itself, and the service says NOT_SERVING where that fails too."""

    reason = "DEVICE_FAULT"


class AuditBrokenError(ApsamError):
    """Raised by `service.audit_chain` for a log that is no longer what was written; the message
    names the line."""

    reason = "AUDIT_BROKEN"


class BundleError(ApsamError):
    """Raised by `contract.manifest`; the message names the file."""

    reason = "BAD_BUNDLE"


class UnverifiedBuildError(BundleError):
    """Raised by `runtime.builds`; verify the build on this machine, or choose another."""

    reason = "UNVERIFIED_BUILD"


class SignatureError(BundleError):
    """Raised by `signing`; nothing of the bundle was loaded."""

    reason = "BAD_SIGNATURE"


class ProjectError(ApsamError):
    """Raised by `console.project`; nothing of the call was saved."""

    reason = "BAD_PROJECT"


class NotInProjectError(ApsamError, LookupError):
    """Raised by `console.project` for an id that it never gave, or of an object since removed."""

    reason = "NOT_IN_PROJECT"


class BackendUnavailableError(ApsamError):
    """Raised by `runtime`; the message lists what exists on this machine."""

    reason = "BACKEND_UNAVAILABLE"

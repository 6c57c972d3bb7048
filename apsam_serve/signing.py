"""Detached signatures of bundles, by the library `model-signing` (OpenSSF Model Signing).

The signature of the folder `BUNDLE` is the file `BUNDLE.sig` beside it: a file inside would be
unlisted, and nothing inside can sign itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apsam_serve.errors import BackendUnavailableError, SignatureError


def signature_file(bundle: Path) -> Path:
    """Where the signature of a bundle lies; beside the folder itself where a link leads there."""
    folder = bundle.resolve()
    return folder.with_name(f"{folder.name}.sig")


def check(private_key: Path) -> None:
    """Raise what `sign` would raise for this key, before there is anything to sign."""
    _signer(private_key)


def sign(bundle: Path, private_key: Path) -> Path:
    """Sign every file of a bundle with an elliptic-curve key (PEM); returns the signature's file,
    in which an older signature is replaced.

    Raises SignatureError for a key that cannot sign, BackendUnavailableError without the library.
    """
    signer, target = _signer(private_key), signature_file(bundle)
    partial = target.with_name(f".{target.name}.partial")
    try:
        signer.sign(bundle.resolve(), partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _signer(private_key: Path) -> Any:
    try:
        from model_signing import signing
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    try:
        return signing.Config().use_elliptic_key_signer(private_key=private_key)
    except Exception as error:  # the libraries raise OSError, ValueError, TypeError and their own
        raise SignatureError(
            f"{private_key} cannot sign ({error}); give an elliptic-curve private key as PEM "
            "without a password: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
        ) from error


def verify(bundle: Path, public_key: Path) -> None:
    """Check every file of a bundle against its signature.

    Raises SignatureError naming what does not fit, BackendUnavailableError without the library.
    """
    try:
        from model_signing import verifying
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    file = signature_file(bundle)
    if not file.is_file():
        raise SignatureError(
            f"{bundle} has no signature {file}; export with --sign, or serve without "
            "--require-signature"
        )
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        config.verify(bundle.resolve(), file)
    except Exception as error:  # the library raises ValueError, InvalidSignature, OSError and more
        raise SignatureError(
            f"{file} is no signature of {bundle} by {public_key} "
            f"({error or type(error).__name__}); copy bundle and signature again, or check the key"
        ) from error


def _missing(error: ModuleNotFoundError) -> BackendUnavailableError:
    return BackendUnavailableError(f"{error.name} is not installed; pip install 'apsam[sign]'")

"""Detached signatures: who signed a bundle, and whether it is still that bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from apsam_serve import signing
from apsam_serve.contract.manifest import open_bundle
from apsam_serve.errors import BundleError, SignatureError
from apsam_serve.service.background import BackgroundServer

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def write_keys(folder: Path, name: str, key: Key) -> tuple[Path, Path]:
    """PEM files of a private key and its public key."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ours", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def signed(fresh_bundle: Path, keys: tuple[Path, Path]) -> Path:
    """A bundle with its signature beside it."""
    assert signing.sign(fresh_bundle, keys[0]) == fresh_bundle.with_name("fresh.sig")
    return fresh_bundle


def test_a_signed_bundle_opens_and_is_verified_by_its_key(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    signing.verify(signed, keys[1])
    open_bundle(signed)
    assert {path.name for path in signed.parent.iterdir()} == {
        "fresh", "fresh.sig", "ours.pem", "ours.pub",
    }  # fmt: skip


def test_a_bundle_is_found_from_inside_and_through_a_link_and_may_be_renamed(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = signed.with_name("current")
    link.symlink_to(signed)
    signing.verify(link, keys[1])
    monkeypatch.chdir(signed)
    signing.verify(Path("."), keys[1])
    moved = signed.rename(signed.with_name("moved"))
    signed.with_name("fresh.sig").rename(signed.with_name("moved.sig"))
    signing.verify(moved, keys[1])


def test_another_key_did_not_sign_it(signed: Path, tmp_path: Path) -> None:
    _, theirs = write_keys(tmp_path, "theirs", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureError, match=r"no signature of .*theirs\.pub .*Key mismatch"):
        signing.verify(signed, theirs)


def test_a_forged_hint_does_not_help_another_key(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """The signature names its key; what counts is the arithmetic."""
    forger, _ = write_keys(tmp_path, "theirs", ec.generate_private_key(ec.SECP256R1()))
    file = signing.signature_file(signed)
    hint = file.read_text().split('"hint":')[1].split('"')[1]
    signing.sign(signed, forger)
    theirs = file.read_text().split('"hint":')[1].split('"')[1]
    file.write_text(file.read_text().replace(theirs, hint))
    with pytest.raises(SignatureError, match="is no signature of"):
        signing.verify(signed, keys[1])


def change_a_byte(bundle: Path) -> None:
    file = bundle / "prompt_decoder.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")


def add_a_file(bundle: Path) -> None:
    (bundle / "more.bin").write_bytes(b"more")


def remove_a_file(bundle: Path) -> None:
    (bundle / "image_encoder.onnx").unlink()


def change_the_manifest(bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace("written for a test", "tried"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_a_byte, "Hash mismatch for 'prompt_decoder.onnx'"),
        (add_a_file, "Extra files found .*more.bin"),
        (remove_a_file, "Missing files .*image_encoder.onnx"),
        (change_the_manifest, "Hash mismatch for 'manifest.json'"),
    ],
)
def test_a_bundle_that_changed_is_no_longer_signed(
    signed: Path, keys: tuple[Path, Path], damage: Callable[[Path], None], message: str
) -> None:
    damage(signed)
    with pytest.raises(SignatureError, match=message):
        signing.verify(signed, keys[1])


def test_a_missing_or_damaged_signature_is_named(
    fresh_bundle: Path, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(SignatureError, match=r"has no signature .*fresh\.sig; export with --sign"):
        signing.verify(fresh_bundle, keys[1])
    signing.signature_file(fresh_bundle).write_text("{}")
    with pytest.raises(SignatureError, match=r"fresh\.sig is no signature of"):
        signing.verify(fresh_bundle, keys[1])


def test_a_key_that_cannot_sign_is_found_out_before(
    fresh_bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    foreign, _ = write_keys(tmp_path, "foreign", ed25519.Ed25519PrivateKey.generate())
    curve, _ = write_keys(tmp_path, "curve", ec.generate_private_key(ec.SECP256K1()))
    for key in (tmp_path / "nowhere.pem", keys[1], foreign, curve):
        with pytest.raises(SignatureError, match=rf"{key.name} cannot sign .*openssl ecparam"):
            signing.check(key)
        with pytest.raises(SignatureError, match="cannot sign"):
            signing.sign(fresh_bundle, key)
    signing.check(keys[0])
    assert not signing.signature_file(fresh_bundle).exists()


def test_a_bundle_is_signed_again_in_place_of_the_old_signature(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    change_the_manifest(signed)
    signing.sign(signed, keys[0])
    signing.verify(signed, keys[1])


def test_a_server_that_requires_a_signature_serves_what_is_signed_and_nothing_else(
    serve: Callable[..., BackgroundServer], signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    assert serve(bundle=signed, require_signature=keys[1]).server.port
    _, theirs = write_keys(tmp_path, "theirs", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureError, match=r"theirs\.pub"):
        serve(bundle=signed, require_signature=theirs)
    change_a_byte(signed)
    with pytest.raises(SignatureError, match="Hash mismatch"):
        serve(bundle=signed, require_signature=keys[1])
    signing.signature_file(signed).unlink()
    with pytest.raises(SignatureError, match="has no signature"):
        serve(bundle=signed, require_signature=keys[1])


def test_a_file_that_the_signing_library_overlooks_is_refused_as_unlisted(
    serve: Callable[..., BackgroundServer], signed: Path, keys: tuple[Path, Path]
) -> None:
    (signed / ".gitignore").write_text("*")
    signing.verify(signed, keys[1])
    with pytest.raises(BundleError, match=r"\.gitignore is not in .*manifest\.json; remove it"):
        serve(bundle=signed, require_signature=keys[1])

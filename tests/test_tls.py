"""The certificate of the server's own port."""

import datetime as dt
import ipaddress
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from headwater.settings import Settings
from headwater.tls import Certificate, TlsWrong


def make_certificate(folder, name: str) -> tuple:
    """Write a self-signed certificate for 127.0.0.1 with its key, and return both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_a_renewed_certificate_is_read_and_a_broken_one_is_not(tmp_path):
    cert, key = make_certificate(tmp_path, "first")
    certificate = Certificate(cert, key)
    first = certificate.context
    certificate.refresh()
    assert certificate.context is first
    cert.write_text("nonsense")
    certificate.refresh()
    assert certificate.context is first
    make_certificate(tmp_path, "second")
    os.utime(cert, (1, 1))
    certificate.refresh()
    assert certificate.context is not first


def test_a_certificate_that_is_not_of_its_key_is_refused(tmp_path):
    cert, _ = make_certificate(tmp_path, "one")
    (tmp_path / "other").mkdir()
    _, key = make_certificate(tmp_path / "other", "two")
    with pytest.raises(TlsWrong, match="cannot be used"):
        Certificate(cert, key)
    with pytest.raises(TlsWrong, match="No such file"):
        Certificate(cert, tmp_path / "missing.pem")


def test_one_of_the_two_settings_is_not_enough(tmp_path):
    with pytest.raises(ValidationError, match="go together"):
        Settings(tls_cert=tmp_path / "cert.pem")
    settings = Settings(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    assert settings.reached_at == "https://127.0.0.1:8080"

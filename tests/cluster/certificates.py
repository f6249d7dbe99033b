"""A certificate authority that lives as long as the cluster, and the certificates and keys that it signs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from autoscaler.clock import SystemClock

_LIFETIME = datetime.timedelta(days=30)
_SKEW = datetime.timedelta(hours=1)
SERVER_NAMES = (
    "localhost",
    "kubernetes.default.svc",
    # The aggregation layer asks for an extension server by the name of its Service.
    "metrics-api.kube-system.svc",
)
SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")


def write_certificates(folder: Path) -> None:
    """
    Write what the components need into *folder*.

    `ca.crt`; `server.crt` and `.key` (all servers on loopback); `front-proxy.crt`
    and `.key` (the API server towards extension servers); `service-accounts.key`.
    """
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("podnode-autoscaler development cluster")
    root = _certificate(issuer, issuer, authority.public_key(), authority, purpose=None)
    _write(folder / "ca.crt", root.public_bytes(serialization.Encoding.PEM))
    for file, common_name, purpose in (
        ("server", "kube-apiserver", ExtendedKeyUsageOID.SERVER_AUTH),
        ("front-proxy", "front-proxy-client", ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(_name(common_name), issuer, key.public_key(), authority, purpose=purpose)
        _write(folder / f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        _write(folder / f"{file}.key", _pem(key))
    _write(folder / "service-accounts.key", _pem(ec.generate_private_key(ec.SECP256R1())))


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    purpose: x509.ObjectIdentifier | None,
) -> x509.Certificate:
    """Return a certificate; without a *purpose* it is the authority's own."""
    now = datetime.datetime.fromtimestamp(SystemClock().now(), datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=purpose is None, path_length=None), critical=True)
        .add_extension(_usage(signs=purpose is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if purpose == ExtendedKeyUsageOID.SERVER_AUTH:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVER_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in SERVER_ADDRESSES]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # SEC 1 form: what the API server reads for service account keys.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)

"""TLS certificates for tests."""
import subprocess


def make_certificate(path, name, address="127.0.0.1"):
    """Certificate and key in one PEM file, as HAProxy takes them; the certificate is its own authority."""
    key, certificate = path.with_suffix(".key"), path.with_suffix(".crt")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-out", certificate, "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:localhost,IP:{address}"],
                   check=True, capture_output=True)
    path.write_bytes(certificate.read_bytes() + key.read_bytes())
    path.chmod(0o600)
    return path

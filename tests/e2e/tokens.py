"""JSON Web Tokens as Open WebUI makes them (RFC 7519), and all the ways to make them wrong."""
import base64
import hashlib
import hmac
import json
import os
import time

SECRET = "secret-of-the-chat-0123456789abcdef"


def _part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def jwt(user, secret=SECRET, lasts=3600, algorithm="HS256", header=None, **claims):
    """A token of `user`, good for `lasts` seconds (None: without `exp`). Each one is another."""
    content = {"id": user, "jti": os.urandom(8).hex(), **claims}
    if lasts is not None:
        content["exp"] = int(time.time()) + lasts
    text = _part(header or {"alg": algorithm, "typ": "JWT"}) + b"." + _part(content)
    hashes = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
    signature = b"" if algorithm == "none" else hmac.new(secret.encode(), text, hashes.get(algorithm, hashlib.sha256)).digest()
    return (text + b"." + _part(signature)).decode()


def digest(token):
    """As identities.map has it."""
    return hashlib.sha256(token.encode()).hexdigest().upper()

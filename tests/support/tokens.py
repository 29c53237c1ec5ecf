"""A key pair and tokens for a sqld that asks for them, made with the openssl program."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class TokenMaker:
    """Signs tokens with a key of its own; ``public_key`` is the file that sqld reads."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl program to sign tokens with")
        self._key, self._folder = folder / "key.pem", folder
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", str(self._key))
        self.public_key = folder / "public.pem"
        self._openssl("pkey", "-in", str(self._key), "-pubout", "-out", str(self.public_key))

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"this openssl cannot do Ed25519: {done.stderr.strip()[:200]}")

    def token(self, **claims: object) -> str:
        """A token that sqld accepts, unless the claims say otherwise."""
        parts = [{"alg": "EdDSA", "typ": "JWT"}, {"a": "rw", **claims}]
        body = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        message, signature = self._folder / "message", self._folder / "signature"
        message.write_text(body)
        self._openssl(
            "pkeyutl",
            "-sign",
            "-rawin",
            "-inkey",
            str(self._key),
            "-in",
            str(message),
            "-out",
            str(signature),
        )
        return body + "." + _base64url(signature.read_bytes())

"""Who may call: keys, which are kept as hashes and compared in constant time."""

import hmac
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metagen.budget import Budget
from metagen.disk.templates import read_toml
from metagen.errors import InputError, first_fault
from metagen.serve.refusals import Refusal

VARIABLE = "METAGEN_API_KEY"
"""The environment variable of a single key."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the owner of a key may do. It does not hold the key."""

    name: str
    hash: bytes = b""
    models: tuple[str, ...] | None = None
    """Aliases and models that it may use; `None` for all."""
    specs: bool = True
    """Whether it may write strategies of its own."""
    request: Budget = field(default_factory=Budget)
    """For each request."""
    tokens_per_day: int | None = None

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models


ANYONE = Key("anyone")
"""Who calls a server without keys."""


class KeyRow(BaseModel):
    """One key in a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    models: list[str] | None = None
    specs: bool = False
    tokens: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    tokens_per_day: Annotated[int, Field(ge=1)] | None = None

    def key(self) -> Key:
        models = None if self.models is None else tuple(self.models)
        budget = Budget(self.tokens, self.seconds)
        return Key(self.name, bytes.fromhex(self.sha256), models, self.specs, budget, self.tokens_per_day)


class KeyFile(BaseModel):
    """A file of keys."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[list[KeyRow], Field(min_length=1)]


def hashed(secret: str) -> bytes:
    return sha256(secret.encode(errors="replace")).digest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in a TOML file. Raises `InputError`, naming the file and the field."""
    try:
        rows = KeyFile.model_validate(read_toml(path)).key
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from None
    keys = tuple(row.key() for row in rows)
    check_keys(keys, f"{path}: ")
    return keys


def check_keys(keys: Sequence[Key], where: str = "") -> None:
    """Raise `InputError` for keys that would not keep apart who may do what.

    Two of one name would share budgets, and read the replies of each other. The hash of an empty key would let in
    everybody who sends none.
    """
    if empty := next((key.name for key in keys if key.hash == hashed("")), None):
        raise InputError(f"{where}the key {empty!r} is empty, so that anybody may call: hash the key itself")
    if twice := [name for name, count in Counter(key.name for key in keys).items() if count > 1]:
        raise InputError(f"{where}two keys have one name, {twice[0]!r}")


def find_keys(path: Path | None) -> tuple[Key, ...]:
    """The keys of a file, and that of the environment."""
    secret = os.environ.get(VARIABLE, "").strip()  # as that of a request is read
    own = (Key("environment", hashed(secret)),) if secret else ()
    keys = own + (read_keys(path) if path else ())
    check_keys(keys, f"{path}: with the key of {VARIABLE}, ")
    return keys


def authorise(keys: Sequence[Key], header: str | None) -> Key:
    """The key that a request came with. All are compared, so that the time says nothing. Raises `Refusal`."""
    if not keys:
        return ANYONE
    scheme, _, secret = (header or "").partition(" ")
    given = hashed(secret.strip() if scheme.lower() == "bearer" else "")
    found = [key for key in keys if hmac.compare_digest(key.hash, given)]
    if not found:
        headers = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, "The key is missing or wrong", code="invalid_api_key", headers=headers)
    return found[0]


def is_here(host: str) -> bool:
    """Whether only this machine can call an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

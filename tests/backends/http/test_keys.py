"""No spelling of a server's key that comes back from it is repeated."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import nullcontext
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import InputError, Model
from metagen.backends.http.keys import BLOT, SHORTEST, Key
from metagen.request import without_secrets

SECRET = "sk-Ab/9+x y=Ü7"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Key:
    monkeypatch.setenv("OUR_KEY", SECRET)
    return Key("OUR_KEY")


SPELLINGS = {
    "plain": SECRET,
    "percent": quote(SECRET, safe=""),
    "percent, small letters": quote(SECRET, safe="").replace("%C3", "%c3").replace("%2F", "%2f").replace("%2B", "%2b"),
    "form": quote_plus(SECRET),
    "escaped slash": SECRET.replace("/", r"\/"),
    "unicode escapes": "".join(f"\\u{ord(letter):04x}" for letter in SECRET),
    "one letter behind percent signs": SECRET.replace("k", "%6b"),
    "one letter escaped": SECRET.replace("k", r"\u006B"),
    "hexadecimal": SECRET.encode().hex(),
    "base64": b64encode(SECRET.encode()).decode(),
    "base64 for addresses": urlsafe_b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_removed_however_it_is_spelled(key: Key, spelling: str) -> None:
    assert key.scrub(f"wrong key {spelling}!") == f"wrong key {BLOT}!"
    assert SECRET not in key.scrub_body(json.dumps({"error": spelling}, ensure_ascii=False).encode()).decode()


@given(ways=st.lists(st.sampled_from(["as it is", "percent", "escaped"]), min_size=len(SECRET), max_size=len(SECRET)))
def test_no_mixture_of_spellings_is_repeated(ways: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUR_KEY", SECRET)
        spell: dict[str, Callable[[str], str]] = {"as it is": str, "percent": percent, "escaped": escaped}
        mixed = "".join(spell[way](letter) for way, letter in zip(ways, SECRET, strict=True))
        assert Key("OUR_KEY").scrub(f"wrong key {mixed}!") == f"wrong key {BLOT}!"


def escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}"


def percent(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode())


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_no_base64_of_it_can_be_read_whatever_stands_around_it(before: bytes, after: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUR_KEY", "sk-0123456789abcdef")
        key = Key("OUR_KEY")
        text = b64encode(before + b"sk-0123456789abcdef" + after).decode()
        assert BLOT in key.scrub(text)
        assert len(key.scrub(text).replace(BLOT, "")) <= len(text) - 24


def test_a_short_key_is_looked_for_in_messages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "k" * (SHORTEST - 1))
    assert Key("OUR_KEY").scrub("your key kkkkk is wrong") == f"your key {BLOT} is wrong"
    assert Key("OUR_KEY").scrub_body(b"kkkkk") == b"kkkkk"


@pytest.mark.parametrize("name", ["X-Api-Key", "api-key", "Ocp-Apim-Subscription-Key", "PRIVATE-TOKEN", "Cookie"])
def test_a_header_that_is_called_a_key_is_one(name: str) -> None:
    assert Key("OUR_KEY", {name: "sk-0123456789"}).scrub("wrong key sk-0123456789") == f"wrong key {BLOT}"


def test_other_headers_and_fields_are_none() -> None:
    key = Key(
        "OUR_KEY", {"X-Team": "planners", "X-Author": "somebody"}, {"prompt_cache_key": "planners", "user": "somebody"}
    )
    assert key.secrets == ()


def test_without_a_key_nothing_is_sent_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    assert Key("OUR_KEY").headers() == {}
    assert Key("OUR_KEY").scrub("text") == "text"


def test_what_cannot_be_a_key_is_refused_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "secret\nX-Other: 1")
    with pytest.raises(InputError) as refused:
        Key("OUR_KEY").headers()
    assert "secret" not in str(refused.value)


SECRETS = ("token", "key", "apiKey", "x-api-key", "subscription_key", "hf_token", "Helicone-Auth", "X-Auth", "jwt")
OTHERS = ("stop_token", "prompt_cache_key", "user", "X-Author", "keywords", "max_tokens", "tokenizer", "authors")


@pytest.mark.parametrize("name", [*SECRETS, *OTHERS])
def test_one_rule_says_what_a_secret_is(name: str) -> None:
    """In headers and fields, in what is written down, and in what a strategy may hold."""
    secret, given = name in SECRETS, {name: "sk-0123456789", "deep": [{name: "sk-0123456789", "best_of": 7}]}
    assert bool(Key("OUR_KEY", {name: "sk-0123456789"}).secrets) == secret
    assert bool(Key("OUR_KEY", None, {"deep": [{name: "sk-0123456789"}]}).secrets) == secret
    written = without_secrets(given)
    assert written["deep"][0].keys() - {name} == {"best_of"}
    assert (name in written["deep"][0]) != secret
    with pytest.raises(InputError, match=f"extra may hold no {name}") if secret else nullcontext():
        Model(extra=given)


def test_a_schema_may_name_what_elsewhere_is_a_secret() -> None:
    schema = {"guided_json": {"properties": {"token": {"type": "string"}}, "required": ["token"]}}
    assert without_secrets(schema) == schema
    assert "token" in str(Model(extra=schema).extra)


def test_an_empty_header_sends_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", SECRET)
    assert Key("OUR_KEY").headers()
    key = Key("OUR_KEY", {"authorization": ""})
    assert (key.headers(), key.secrets) == ({}, ())


@pytest.mark.parametrize(
    ("first", "second"), [("sk-12345678", "sk-12345678-long"), ("sk-12345678-long", "sk-12345678")]
)
def test_of_two_keys_that_begin_alike_no_end_is_left(monkeypatch: pytest.MonkeyPatch, first: str, second: str) -> None:
    monkeypatch.setenv("OUR_KEY", first)
    for key in (Key("OUR_KEY", {"X-Api-Key": second}), Key("NONE", {"X-Api-Key": first, "Other-Api-Key": second})):
        for each in (first, second):
            assert key.scrub(f"wrong key {each}!") == f"wrong key {BLOT}!"
            assert key.scrub_body(f"wrong key {each}!".encode()).decode() == f"wrong key {BLOT}!"

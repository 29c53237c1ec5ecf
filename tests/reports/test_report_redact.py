"""No credential reaches a report, in whatever form it came; what only looks like one stays readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlift.errors import StoreAuthError
from sessionlift.reports import ErrorLine, Report, StoreInfo, redact, redact_tree, render_text, write

JWT = "eyJhbGciOiJFZERTQSJ9.eyJpYXQiOjE3MDB9.c2lnbmF0dXJl_-x"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("libsql+http://me:hunter2@db.local:8080/x", "libsql+http://***@db.local:8080/x"),
        ("libsql+https://:hunter2@db.local", "libsql+https://***@db.local"),
        ("https://hunter2@db.local?x=1", "https://***@db.local?x=1"),
        ("http://me:p@ss:word@db.local/", "http://***@db.local/"),
        ("two: http://a:b@c and http://d:e@f", "two: http://***@c and http://***@f"),
        ("libsql://db.local?authToken=hunter2", "libsql://db.local?authToken=***"),
        ("libsql://db.local?tls=1&authToken=hunter2&x=y", "libsql://db.local?tls=1&authToken=***&x=y"),
        ("http://h/?auth_token=hunter2#top", "http://h/?auth_token=***#top"),
        ("http://h/?AUTHTOKEN=hunter2", "http://h/?AUTHTOKEN=***"),
        ("http://h/?password=hunter2", "http://h/?password=***"),
        ("authToken=hunter2, then", "authToken=***, then"),
        ('{"authToken": "hunter2"}', '{"authToken": "***"}'),
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        ("authorization: bearer  hun.ter/2+x==", "authorization: bearer  ***"),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Authorization: Basic ***"),
        (f"refused {JWT}: expired", "refused ***: expired"),
    ],
)
def test_what_has_the_form_of_a_credential_is_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "libsql:///home/me@work/new.db",
        "duckdb:///data/a@b.duckdb",
        "http://db.local:8080/users/@me",
        "write to me@example.com",
        "prompt_token=5 and total tokens=7",
        "the token was refused",
        "the bearer",
        "a password is needed",
        "C:\\stores\\old.duckdb",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_goes_wherever_it_stands() -> None:
    secret = "/".join(["s3cr3t", "with+signs"])
    assert redact(f"server said: '{secret}' is bad", [secret]) == "server said: '***' is bad"
    assert redact("GET /?t=s3cr3t%2Fwith%2Bsigns", [secret]) == "GET /?t=***"
    assert redact("nothing here", [secret, ""]) == "nothing here"


def test_the_longer_of_two_secrets_goes_whole() -> None:
    assert redact("abcdefgh-tail abcdefgh", ["abcdefgh", "abcdefgh-tail"]) == "*** ***"


def test_a_short_secret_does_not_tear_words_apart() -> None:
    assert redact("pass a token: a", ["a"]) == "pass *** token: ***"


def test_a_tree_is_redacted_to_its_leaves_and_keys() -> None:
    tree = {
        "url": "http://u:p@h",
        "n": 1,
        "none": None,
        "list": [{"deep": ["Bearer abc"]}, True, 0.5],
        "authToken": "opaque",
        "password": "",
        "token": {"value": "Bearer abc"},
        "http://u:p@key": 1,
    }
    assert redact_tree(tree) == {
        "url": "http://***@h",
        "n": 1,
        "none": None,
        "list": [{"deep": ["Bearer ***"]}, True, 0.5],
        "authToken": "***",
        "password": "",
        "token": {"value": "Bearer ***"},
        "http://***@key": 1,
    }


pieces = st.sampled_from(
    ["http://", "u:p", "@", "h", "?", "&", "authToken=", "Bearer ", JWT, " ", "/", "***", '"', ":", "=", "é"]
)
loaded_texts = st.lists(pieces, max_size=12).map("".join) | st.text()


@given(loaded_texts, st.lists(st.text(min_size=1, max_size=8), max_size=2))
def test_doing_it_twice_changes_nothing_more(text: str, secrets: list[str]) -> None:
    # a secret made of the mask itself would be found again, as the mask, for ever
    secrets = [s for s in secrets if "*" not in s]
    once = redact(text, secrets)
    assert redact(once, secrets) == once


@given(st.text(max_size=20), st.text(alphabet="abcXYZ019-_.~", min_size=8, max_size=40), st.text(max_size=20))
def test_a_known_secret_is_never_left(before: str, secret: str, after: str) -> None:
    assert secret not in redact(before + secret + after, [secret])


def loaded_report(secret: str) -> Report:
    error = StoreAuthError(f"401 for 'Bearer {secret}'", store=f"libsql+http://h?authToken={secret}", role="target")
    return Report(
        kind="migrate",
        run_id="r",
        status="failed",
        source=StoreInfo(url="duckdb:///a.duckdb"),
        target=StoreInfo(url=f"libsql+http://:{secret}@h:8080"),
        options={"target": f"libsql+http://h?authToken={secret}", "environ": {"SESSIONLIFT_TOKEN": secret}},
        errors=[ErrorLine(error=str(error.to_dict()), code=error.code)],
        assumptions=[f"the server echoes {secret}"],
    )


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "a+b/c==", JWT])
def test_the_token_of_the_environment_is_in_no_form_of_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secret: str
) -> None:
    report = loaded_report(secret)
    path = write(report, tmp_path / "r.json", secrets=[secret])
    text = path.read_text("utf-8")
    assert secret not in text
    assert "401 for" in text
    assert "h:8080" in text
    assert report.options["environ"] == {"SESSIONLIFT_TOKEN": secret}, "the run's own data must stay in use"


def test_text_for_people_has_no_url_credentials_either() -> None:
    assert "hunter2" not in render_text(
        Report(
            kind="migrate",
            run_id="r",
            source=StoreInfo(url="http://u:hunter2@h"),
            assumptions=["Bearer hunter2"],
        )
    )


def test_every_string_of_a_report_is_passed_through(sound: Report) -> None:
    """A credential is put at each place in turn; after writing it is nowhere."""
    salt = "Bearer hunter2hunter2"
    data = sound.to_dict()

    def salted(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: salted(v) for k, v in node.items()}
        if isinstance(node, list):
            return [salted(v) for v in node]
        return f"{node} {salt}" if isinstance(node, str) else node

    assert "hunter2" not in json.dumps(redact_tree(salted(data)))

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.redaction import (
    FRAGMENT,
    MOST_DECODED,
    REDACTED,
    Redactor,
    leaves,
    secrets_of_headers,
    secrets_of_url,
    without_password,
)

SECRETS = [
    "hunter2-and-more",
    'pa"ss wörd/ü&<x>%41\\z',
    "p+l+u+s & <tag>",
    "пароль-секрет",
    "smile 😀 \n tab\t",
    "4711",
]


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


ENCODINGS = {
    "plain": str,
    "json": json.dumps,
    "json without escapes": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"a": text})),
    "json in json in json": lambda text: json.dumps(json.dumps(json.dumps([text]))),
    "url": quote,
    "url in lower case": lambda text: re.sub(r"%..", lambda found: found[0].lower(), quote(text, safe="")),
    "url, each byte": _percent,
    "url twice": lambda text: quote(quote(text)),
    "form": quote_plus,
    "html": html.escape,
    "html, decimal": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "html, hexadecimal": lambda text: "".join(f"&#x{ord(sign):X};" for sign in text),
    "json in html": lambda text: html.escape(json.dumps(text)),
    "html in json as Go has it": lambda text: json.dumps(html.escape(text)).replace("&", "\\u0026"),
    "json in a url": lambda text: quote(json.dumps({"pin": text})),
    "url in json": lambda text: json.dumps({"url": f"/x?q={quote(text)}"}),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 of more": lambda text: base64.b64encode(f"jo:{text}!".encode()).decode(),
    "base64 of json": lambda text: base64.b64encode(json.dumps({"pin": text}).encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(b"x" * 50 + text.encode() + b"y" * 50).decode(),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(f"user:{text}".encode())).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "upper case": str.upper,
    "wrong charset": lambda text: text.encode().decode("latin-1"),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_secret_is_removed_in_each_encoding_and_what_stands_beside_it_stays(secret, encoding):
    encoded = ENCODINGS[encoding](secret)
    redacted = Redactor([secret]).text(f"before {encoded} behind")
    assert redacted.startswith("before ")
    assert redacted.endswith(" behind")
    assert REDACTED in redacted
    assert encoded.strip("\"'") not in redacted
    assert secret not in redacted


@given(
    secret=st.text(st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=4, max_size=40),
    layers=st.lists(st.sampled_from([json.dumps, quote, html.escape]), max_size=3),
)
def test_a_secret_is_removed_from_under_any_layers(secret, layers):
    encoded = secret
    for layer in layers:
        encoded = layer(encoded)
    assert REDACTED in Redactor([secret]).text(f"<< {encoded} >>")


@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=200))
def test_a_text_without_a_secret_stays_as_it_is(text):
    assert Redactor(["\u2603 no such secret \u2603"]).text(text) == text


def test_json_is_redacted_in_names_texts_and_numbers_and_keeps_its_form():
    said = {"pin 4711": [4711, "4711", True, None, 1.5], "nested": json.dumps({"pin": "4711"}), "other": 47110}
    assert Redactor(["4711", "1.5"]).json(said) == {
        f"pin {REDACTED}": [REDACTED, REDACTED, True, None, REDACTED],
        "nested": json.dumps({"pin": REDACTED}),
        "other": 47110,
    }


def test_a_short_secret_is_removed_as_a_word_and_not_inside_of_words():
    assert Redactor(["1"]).text("line 100: 1 is not 11, '1'") == f"line 100: {REDACTED} is not 11, '{REDACTED}'"


@pytest.mark.parametrize("part", [slice(0, 20), slice(5, 25), slice(-20, None)])
def test_a_long_part_of_a_secret_is_removed_too(part):
    secret = "".join(chr(97 + n % 26) + str(n) for n in range(40))
    assert len(secret[part]) > FRAGMENT
    assert Redactor([secret]).text(f"input_value='{secret[part]}...'") == f"input_value='{REDACTED}...'"


def test_a_secret_that_was_cut_off_at_the_end_is_removed():
    assert Redactor(["hunter2-and-more"]).text("your password is hunter2") == f"your password is {REDACTED}"


def test_secrets_beside_each_other_are_removed_once():
    assert Redactor(["first-secret", "second-secret"]).text("first-secretsecond-secret") == REDACTED


def test_no_secret_changes_nothing():
    assert Redactor(["", "  "]).json({"a": "  b"}) == {"a": "  b"}


def test_what_is_encoded_more_than_the_budget_allows_is_removed_whole():
    assert Redactor(["hunter2"]).text("%41" * MOST_DECODED) == REDACTED


def test_leaves_of_a_value_are_its_texts_and_numbers():
    assert list(leaves({"a": ["x", 1, True, None], "b": {"c": 2.5}, "d": 10**5000})) == ["x", "1", "2.5"]


def test_of_a_header_the_credentials_are_secret_alone_too():
    basic = base64.b64encode(b"jo:hunter2").decode()
    found = set(
        secrets_of_headers({"Authorization": f"Basic {basic}", "X": "Bearer abc", "Cookie": "sid=0123456789ab"})
    )
    assert {basic, "jo:hunter2", "hunter2", "abc", "0123456789ab"} <= found


def test_of_a_url_password_and_query_are_secret():
    found = set(secrets_of_url("https://jo:p%20ss@ec.test/x?key=abc%2Fd&n=1"))
    assert found == {"p%20ss", "p ss", "abc%2Fd", "abc/d"}
    assert list(secrets_of_url("http://[")) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, None),
        ("https://ec.test/a:b@c", "https://ec.test/a:b@c"),
        ("https://jo@ec.test", "https://jo@ec.test"),
        ("https://jo:p@ss@ec.test:1/x", f"https://jo:{REDACTED}@ec.test:1/x"),
        ("https://:p@ec.test", f"https://:{REDACTED}@ec.test"),
    ],
)
def test_the_password_of_a_url_is_redacted(url, shown):
    assert without_password(url) == shown

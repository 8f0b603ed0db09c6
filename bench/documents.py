"""Made-up reviews: the same ones for the same seed, a few hundred thousand a second."""

import random
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from typing import Any

#: Grows when the same seed begins to give other documents: what was made before is then of no use.
EDITION = 1
#: Mean size of a review with its line end.
REVIEW_BYTES = 573
#: Mean size of a long one, likewise.
LONG_REVIEW_BYTES = 2500

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "product", "author", "rating", "title", "text", "language", "verified", "written_at"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "product": {"type": "string", "minLength": 1, "maxLength": 40},
        "author": {"type": "string", "minLength": 1, "maxLength": 40},
        "rating": {"type": "integer", "minimum": 1, "maximum": 5},
        "title": {"type": "string", "maxLength": 200},
        "text": {"type": "string"},
        "language": {"enum": ["en", "de", "fr", "es"]},
        "verified": {"type": "boolean"},
        "written_at": {"type": "string", "minLength": 20, "maxLength": 20},
    },
}

#: What of a review is not its text.
_AROUND = 210
#: Some letters of the prose are not ASCII.
_BYTES_A_CHARACTER = 1.037
#: A text is up to so much of its mean length longer or shorter.
_SPREAD = 0.4
#: So long that two reviews of one Parquet page seldom hold the same piece of it, as real ones would not.
_PROSE_CHARACTERS = 1 << 23
_WORDS = 30_000
_TITLE_CHARACTERS = 32
_CONSONANTS = "bcdfghklmnprstvw"
_VOWELS = "aeiou" * 4 + "üé"
_LANGUAGES = ("en", "de", "fr", "es")
_VERIFIED = ("true", "false")


def review_id(number: int) -> str:
    """Return the id of a review: 16 hex digits, spread over all that there are."""
    return blake2b(number.to_bytes(8, "big"), digest_size=8).hexdigest()


def ndjson(numbers: Iterable[int], *, seed: str, size: int = REVIEW_BYTES) -> bytes:
    """Return the reviews with these numbers as lines of JSON, ``size`` bytes each on the average.

    A number gives the id, and the seed all else: other seeds give other contents for the same ids.
    """
    return "".join(reviews(numbers, seed=seed, size=size)).encode()


def reviews(numbers: Iterable[int], *, seed: str, size: int = REVIEW_BYTES) -> Iterator[str]:
    """Yield the same, a line at a time."""
    prose = _prose()
    draw = random.Random(seed).getrandbits
    mean = max(1, (size - _AROUND) / _BYTES_A_CHARACTER)
    shortest, spread = int(mean * (1 - _SPREAD)), max(1, round(mean * 2 * _SPREAD))
    budget = len(prose) - _TITLE_CHARACTERS - shortest - spread
    for number in numbers:
        # One draw a review, cut into pieces: a draw for each piece would take most of the time.
        bits = draw(128)
        title = (bits & 0xFFFFFFFF) % budget
        text = title + _TITLE_CHARACTERS
        length = shortest + (bits >> 32 & 0xFFFF) % spread
        bits >>= 48
        yield (
            f'{{"id":"{review_id(number)}","product":"product-{bits & 0xFFFF:05}",'
            f'"author":"reader-{bits >> 16 & 0xFFFFF:07}","rating":{(bits >> 36 & 7) % 5 + 1},'
            f'"title":"{prose[title:text]}","text":"{prose[text : text + length]}",'
            f'"language":"{_LANGUAGES[bits >> 39 & 3]}","verified":{_VERIFIED[bits >> 41 & 1]},'
            f'"written_at":"2026-{(bits >> 42 & 7) + 1:02}-{(bits >> 45 & 15) + 10}T{(bits >> 49 & 7) + 10}:'
            f'{(bits >> 52 & 31) + 10}:{(bits >> 57 & 31) + 10}Z"}}\n'
        )


@cache
def _prose() -> str:
    """Return words and sentences without end, of no meaning, that compress about as well as text does."""
    rng = random.Random("prose")
    words = [_word(rng) for _ in range(_WORDS)]
    # Few words are frequent and many are rare, as in any language.
    weights = [1 / (place + 80) for place in range(_WORDS)]
    count = _PROSE_CHARACTERS // 4
    text = " ".join(rng.choices(words, weights, k=count))
    return text[:_PROSE_CHARACTERS]


def _word(rng: random.Random) -> str:
    syllables = rng.choice((1, 2, 2, 3, 3, 4))
    begin = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables))
    return begin + rng.choice(("", "", "n", "r", "s", "."))

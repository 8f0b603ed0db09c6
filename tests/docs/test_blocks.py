"""Every page, run as it stands: its commands, the files that it tells to save, its programs."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

import docs_tour
from docs_page import ROOT, Page
from docs_tour import Tour

#: The README has tests of its own (``test_readme.py``).
PAGES = {str(file.relative_to(ROOT)): Page.of(str(file.relative_to(ROOT))) for file in (ROOT / "docs").rglob("*.md")}
RUN = sorted(path for path, page in PAGES.items() if page.outputs())

#: The names of the Externals that a page creates: with curl, from a file, by a function of the page, or in Python.
NAMED = (
    re.compile(r"""(?:/externals" -d '|> external\.json <<'END'\n|\ncrawler ')\{\s*"meta": \{"name": "([^"]+)"\}"""),
    re.compile(r"""(?:ExternalCrawler|externals\.create)\(\s*"([^"]+)\""""),
)


@pytest.fixture(scope="module", params=RUN)
def tour(request, tmp_path_factory) -> Iterator[Tour]:
    with docs_tour.serving(tmp_path_factory.mktemp("served")) as served:
        yield docs_tour.take(PAGES[request.param], served, tmp_path_factory.mktemp("tour"))


def test_a_page_is_answered_with_the_statuses_that_it_promises(tour):
    docs_tour.check_statuses(tour)


def test_a_page_shows_what_it_puts_out(tour):
    docs_tour.check_outputs(tour)


def test_pages_that_are_run_against_one_server_name_their_externals_apart():
    texts = [(ROOT / path).read_text() for path in ["README.md", *PAGES]]
    names = Counter(name for text in texts for pattern in NAMED for name in pattern.findall(text))
    assert {"Prices by script", "Price lists", "Books by server", "Book prices", "Bookshop"} <= names.keys()
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", ["README.md", *sorted(PAGES)])
def test_a_block_is_run_or_data_or_says_why_it_is_not_run(path):
    assert Page.of(path).untold() == []


MADE_UP = """
- ```bash
  echo one
  ```

  ```text
  one
  ```

<!-- not run: the test has done it -->

```bash
make serve
```

```text
served
```

```python
# shop/crawler.py
print(1)
```

```python
print(2)
```

```toml
# notes
```

```ruby
puts 3
```
"""


def test_a_page_is_taken_apart():
    page = Page(text=MADE_UP)
    assert [(step.language, step.name, step.output) for step in page.story()] == [
        ("bash", None, "one\n"),
        ("python", "shop/crawler.py", ""),
    ]
    assert [step.text for step in page.program("python")] == ["print(2)\n"]
    assert page.untold() == ["ruby: puts 3"]


@pytest.mark.parametrize(
    ("comment", "statuses", "fits"),
    [
        ("201 200", "201 200 ", True),
        ("201 200", "201 200 200 ", False),
        ("201 …", "201 200 204 ", True),
        ("201 …", "201 ", True),
        ("201 …", "201 404 ", False),
        ("200, until it is there", "200 200 200 ", True),
    ],
)
def test_a_comment_promises_statuses(comment, statuses, fits):
    page = Page(text=f"```bash\ncommand   # {comment}\n```\n")
    assert bool(page.promised().fullmatch(statuses)) == fits


RUNNABLE = """
```bash
sleep 600 &
export GREETING=hello
```

```python
# told/greeting.py
import os

print(os.environ["GREETING"], os.urandom(3).hex())
```

```bash
python told/greeting.py
curl -sS -o /dev/null "$HEADWATER_URL/healthz"   # 200
curl -sS -o /dev/null "$HEADWATER_URL/streams" -H "Authorization: Bearer $(cat "$HEADWATER_DATA/admin.key")"   # 200
```

```text
hello …
```

```python
import os

import headwater_client

words = os.environ.keys() & {"HEADWATER_URL", "HEADWATER_KEY", "HEADWATER_CRAWLER"}
```

```python
print(*sorted(words))
raise SystemExit("an end")
```

```text
HEADWATER_KEY HEADWATER_URL
```

```js
import { Headwater } from "headwater-client";
console.log(typeof Headwater, await 1);
```

```text
function 2
```
"""


def test_a_page_is_run_word_for_word_and_its_faults_are_found(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "tour").mkdir()
    page = Page(text=RUNNABLE)
    with docs_tour.serving(tmp_path / "served") as served:
        tour = docs_tour.take(page, served, tmp_path / "tour")
    assert page.promised().fullmatch(tour.statuses)
    assert tour.errors == "an end\npython ended with 1\n"
    blank, greeting, *programs = tour.outputs
    assert (blank, greeting[:6], programs) == ("", "hello ", ["", "HEADWATER_KEY HEADWATER_URL\n", "function 1\n"])
    with pytest.raises(AssertionError):
        docs_tour.check_statuses(tour)
    with pytest.raises(AssertionError, match="function 1"):
        docs_tour.check_outputs(tour)

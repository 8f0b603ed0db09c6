import pytest

from headwater_client.cli.access import Access, access, checked
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.logins import Logins

HERE, THERE = "http://127.0.0.1:8080", "https://there.example.org"


@pytest.fixture
def logged_in():
    Logins(present=THERE, keys={THERE: "hw_there", HERE: "hw_here"}).write()


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        (None, {}, Access(THERE, "hw_there")),
        (HERE, {}, Access(HERE, "hw_here")),
        (f"{HERE}/", {}, Access(HERE, "hw_here")),
        (None, {"HEADWATER_URL": HERE}, Access(HERE, "hw_here")),
        (THERE, {"HEADWATER_URL": HERE}, Access(THERE, "hw_there")),
        (None, {"HEADWATER_KEY": "hw_ci"}, Access(THERE, "hw_ci")),
        (HERE, {"HEADWATER_KEY": "hw_ci", "HEADWATER_URL": THERE}, Access(HERE, "hw_ci")),
    ],
)
def test_options_go_before_the_environment_and_that_before_the_login(given, environment, found, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert access(given) == found


@pytest.mark.usefixtures("logged_in")
def test_a_key_is_not_sent_to_another_server_than_that_of_its_login():
    with pytest.raises(CliError, match="there is no key for http://other"):
        access("http://other")


def test_without_anything_said_it_is_told_how_to_say_it():
    with pytest.raises(CliError, match=f"there is no key for {HERE}: 'headwater login {HERE}' keeps one") as caught:
        access(None)
    assert caught.value.code == ExitCode.NOT_ALLOWED


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://x?y", "http://x#y", "http://me:key@x"]
)
def test_what_is_no_url_of_a_headwater_is_refused(url):
    with pytest.raises(CliError) as caught:
        checked(url)
    assert caught.value.code == ExitCode.USAGE
    assert "key@" not in str(caught.value)

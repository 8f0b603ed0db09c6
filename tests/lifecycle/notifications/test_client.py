import pytest

from headwater.domain.errors import RequestInvalid
from headwater.lifecycle.notifications.client import NotificationClient


@pytest.mark.parametrize(
    "url", ["json://example.org/x", "jsons://127.0.0.1/x", "xmls://169.254.169.254/", "forms://[::1]/"]
)
async def test_what_posts_anywhere_may_not_post_to_private_addresses(url):
    with pytest.raises(RequestInvalid, match="webhook_private_addresses"):
        await NotificationClient().shown(url)
    assert "webhook_private_addresses" in (await NotificationClient().send(url, "a", "b") or "")


async def test_a_url_is_shown_without_its_path():
    shown = await NotificationClient(is_private_allowed=True).shown("json://user:secret@127.0.0.1:80/path")
    assert shown == "json://127.0.0.1:80/…"


@pytest.mark.parametrize("url", ["dbus://", "SYSLOG://local", "windows://"])
async def test_services_of_this_computer_are_not_used(url):
    with pytest.raises(RequestInvalid, match="service of this computer"):
        await NotificationClient().shown(url)

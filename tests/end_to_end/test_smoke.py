"""A server is started, killed and started again: what it had acknowledged is there."""

from end_to_end.conftest import a_crawler, made


def test_what_was_uploaded_is_there_when_a_killed_server_starts_again(serve):
    headwater = serve(is_forked=False)
    with headwater.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        uploaded = client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n{"id": "b"}\n')
        assert uploaded.status_code == 200, uploaded.text
        headwater.kill()
    headwater.start()
    with headwater.client() as client:
        shown = client.get(f"/streams/{task['stream']}/docs").json()["payload"]
        assert {each["id"] for each in shown} == {"a", "b"}
        assert client.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}).is_success

from headwater_client.models.objects import Credential, Login


def test_a_login_does_not_show_what_is_as_good_as_its_token():
    login = Login.read({"uuid": "5b0c1c52", "url": "https://ec.test/login?uuid=5b0c1c52"})
    assert login.url.endswith(login.uuid)
    assert "5b0c1c52" not in repr(login)


def test_moments_of_a_credential_are_moments():
    credential = Credential.read({"fid": "f", "expires_at": "2026-03-01T12:00:00.000000Z", "issued_at": None})
    assert credential.expires_at.year == 2026
    assert credential.issued_at is None

from importlib.metadata import version

from headwater.domain.software_version import software_version


def test_the_version_is_that_of_the_package_and_is_read_once(monkeypatch):
    assert software_version() == version("headwater")
    monkeypatch.setattr("headwater.domain.software_version.version", None)
    assert software_version() == version("headwater")

import pytest

from builders import an_external
from headwater.domain.errors import ParametersInvalid, SchemaInvalid
from headwater.domain.external import CredentialType, Definition, check_credential, check_definition
from headwater.domain.parameter import Parameter, ParameterType

BASIC, OAUTH = CredentialType.BASIC, CredentialType.OAUTH


def a_definition(**fields):
    return Definition(**({"headers": {}, "parameters": ()} | fields))


def places(**fields):
    """Where a definition is invalid."""
    with pytest.raises(SchemaInvalid) as caught:
        check_definition(a_definition(**fields))
    return [flaw.pointer for flaw in caught.value.flaws]


@pytest.mark.parametrize("schema", [None, True, False, {}, {"type": "object", "required": ["id"]}])
def test_a_definition_that_holds_together_is_fine(schema):
    assert check_definition(a_definition(schema=schema, parameters=(Parameter(name="p"),))) is None


def test_a_schema_that_does_not_compile_is_refused_with_its_place():
    assert places(schema={"properties": {"a": {"type": "bogus"}}}) == ["/schema/properties/a/type"]


def test_parameters_that_do_not_hold_together_are_refused_with_their_places():
    parameters = (
        Parameter(name="p"),
        Parameter(name="p", regex="("),
        Parameter(name="q", type=ParameterType.LIST),
    )
    assert places(parameters=parameters) == ["/parameters/1/name", "/parameters/1/regex", "/parameters/2/options"]


def test_the_first_flaw_is_in_the_error_itself():
    with pytest.raises(SchemaInvalid, match="do not hold together: /parameters/0/min: min 2 is more than max 1"):
        check_definition(a_definition(parameters=(Parameter(name="p", min=2, max=1),)))


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({}, ["/oauth"]),
        ({"oauth": "http://ec", "oauth_parameters": ["a"]}, ["/oauthParameters"]),
        (
            {"oauth": "http://ec", "oauth_parameters": {"uuid": 1, "reset": 1}},
            ["/oauthParameters/uuid", "/oauthParameters/reset"],
        ),
    ],
)
def test_an_external_with_a_login_says_where_and_with_what(fields, pointers):
    with pytest.raises(SchemaInvalid, match="nobody could log in") as caught:
        check_definition(a_definition(credential=OAUTH, **fields))
    assert [flaw.pointer for flaw in caught.value.flaws] == pointers


def test_an_external_without_a_login_may_say_anything_of_it():
    check_definition(a_definition(oauth_parameters=["a"]))


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (None, None),
        (BASIC, {"user": "u", "password": "p"}),
        (BASIC, {"type": "basic", "user": "", "password": ""}),
        (OAUTH, {"fid": "f"}),
        (OAUTH, {"oauth": "f"}),
        (OAUTH, {"type": "oauth", "fid": "f", "expires_at": None}),
    ],
)
def test_a_credential_of_the_form_that_is_asked_for_is_fine(wanted, given):
    assert check_credential(wanted, given) is None


@pytest.mark.parametrize(
    ("wanted", "given", "fault"),
    [
        (None, {"user": "u", "password": "p"}, "takes none"),
        (None, {}, "takes none"),
        (BASIC, None, "needs one of type basic"),
        (OAUTH, None, "needs one of type oauth; log in"),
        (OAUTH, {"token": "t"}, "expected"),
        (OAUTH, {"fid": None}, "expected"),
        (OAUTH, {"type": "basic", "fid": "f"}, "expected"),
        (BASIC, {}, "expected"),
        (BASIC, {"user": "u"}, "expected"),
        (BASIC, {"user": "u", "password": None}, "expected"),
        (BASIC, {"user": 1, "password": "p"}, "expected"),
        (BASIC, {"user": "u", "password": "p", "realm": "r"}, "expected"),
    ],
)
def test_any_other_credential_is_refused(wanted, given, fault):
    with pytest.raises(ParametersInvalid, match=fault) as caught:
        check_credential(wanted, given)
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/credential"]


def test_a_credential_is_never_quoted():
    with pytest.raises(ParametersInvalid) as caught:
        check_credential(BASIC, {"user": "ada", "password": ["hunter2"]})
    said = repr([caught.value.detail, caught.value.flaws])
    assert "hunter2" not in said
    assert "ada" not in said


@pytest.mark.parametrize("meta", [{}, {"name": None}, {"name": ""}])
def test_an_external_without_a_name_is_called_by_its_id(meta):
    external = an_external(meta=meta)
    assert external.name == external.fid


def test_an_external_is_called_by_its_name():
    assert an_external(meta={"name": "Reviews"}).name == "Reviews"

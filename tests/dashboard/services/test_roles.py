import pytest

from dashboard.services.roles import SECRET_LEAST, Connection, NotAdmittedError, Policy, Role, providers

NOW = 1_800_000_000.0
AUTH = {"redirect_uri": "http://localhost:8501/oauth2callback", "cookie_secret": "s" * SECRET_LEAST}


def test_an_app_below_a_path_has_a_proxy_before_it_though_that_says_nothing():
    headers = {"host": "127.0.0.1:8501"}
    assert Connection.of("127.0.0.1", headers).own_machine
    assert not Connection.of("127.0.0.1", headers, below_a_path=True).own_machine


def policy(*, read_only=False, auth=AUTH, **table):
    return Policy.of({"auth": auth, "corrcore": table}, read_only=read_only)


def claims(email="ada@lab.org", **others):
    return {"is_logged_in": True, "email": email, "email_verified": True, "iat": NOW - 60, **others}


LISTS = {"allowed": ["lab.org", "guest@else.org"], "members": ["ada@lab.org"], "operators": ["Root@lab.org"]}


@pytest.mark.parametrize(
    ("email", "role"),
    [
        ("root@lab.org", Role.OPERATOR),
        ("ROOT@LAB.ORG", Role.OPERATOR),
        ("ada@lab.org", Role.MEMBER),
        ("bob@lab.org", Role.VISITOR),
        ("guest@else.org", Role.VISITOR),
    ],
)
def test_roles_go_by_lists_of_addresses_and_domains(email, role):
    assert policy(**LISTS).of_claims(claims(email), now=NOW) is role
    assert policy(**LISTS, read_only=True).of_claims(claims(email), now=NOW) is Role.VISITOR


@pytest.mark.parametrize(
    "email",
    [
        "other@else.org",
        "x@sub.lab.org",
        "x@notlab.org",
        "lab.org",
        "x@lab.org.evil.org",
        "x@evil.org@lab.org",
        "gue\u017ft@else.org",  # a long s, which is an s in small or capital letters
        "ada@\u212aab.org",
        "*",
        "",
    ],
)
def test_others_are_not_admitted(email):
    with pytest.raises(NotAdmittedError):
        policy(**LISTS).of_claims(claims(email), now=NOW)


def test_letters_that_become_ascii_in_small_are_not_ascii():
    with pytest.raises(NotAdmittedError):
        policy(allowed=["ken@lab.org"]).of_claims(claims("\u212aen@lab.org"), now=NOW)  # the Kelvin sign
    with pytest.raises(NotAdmittedError):
        policy(allowed=["x@gross.org"]).of_claims(claims("x@gro\u00df.org"), now=NOW)


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_nobody_has_verified_says_nothing(verified):
    with pytest.raises(NotAdmittedError, match="ada@lab.org is not verified by the service"):
        policy(**LISTS).of_claims(claims(email_verified=verified), now=NOW)
    assert policy(**LISTS, unverified=True).of_claims(claims(email_verified=verified), now=NOW) is Role.MEMBER


@pytest.mark.parametrize(
    "changed",
    [
        {"is_logged_in": False},
        {"is_logged_in": 1},
        {"iat": NOW - 3600 * 24},
        {"iat": None},
        {"iat": True},
        {"iat": "9e99"},
    ],
)
def test_who_has_yet_to_sign_in_or_again_has_no_role(changed):
    assert policy(**LISTS).of_claims({**claims(), **changed}, now=NOW) is None
    assert policy(**LISTS).of_claims({}, now=NOW) is None


def test_a_sign_in_lasts_as_long_as_is_set():
    assert policy(**LISTS, hours=0.5).of_claims(claims(iat=NOW - 1799), now=NOW) is Role.MEMBER
    assert policy(**LISTS, hours=0.5).of_claims(claims(iat=NOW - 1801), now=NOW) is None


def test_everybody_who_signs_in_where_the_list_says_so():
    assert policy(allowed=["*"]).of_claims(claims("x@y.z"), now=NOW) is Role.VISITOR


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ({"auth": AUTH}, "allows nobody"),
        ({"auth": AUTH, "corrcore": {"allowed": "lab.org"}}, "allowed in secrets.toml must be a list"),
        ({"auth": AUTH, "corrcore": {"allowed": [1]}}, "allowed in secrets.toml must be a list"),
        ({"auth": AUTH, "corrcore": {"alowed": ["lab.org"]}}, "has no alowed"),
        ({"auth": AUTH, "corrcore": {"allowed": ["*"], "hours": 0}}, "hours in secrets.toml must be above 0"),
        ({"auth": AUTH, "corrcore": {"allowed": ["*"], "hours": "9"}}, "hours in secrets.toml must be above 0"),
        ({"auth": AUTH, "corrcore": []}, "must be a table"),
        ({"auth": {**AUTH, "cookie_secret": "short"}, "corrcore": LISTS}, "at least 32 characters"),
        ({"auth": {"cookie_secret": "s" * 32}, "corrcore": LISTS}, "lacks redirect_uri"),
        ({"auth": "", "corrcore": LISTS}, "[auth] in secrets.toml must be a table"),
    ],
)
def test_sign_in_that_is_set_up_wrongly_admits_nobody(secrets, problem):
    found = Policy.of(secrets)
    assert found.signs_in
    assert problem in found.problem
    if found.hours:
        with pytest.raises(NotAdmittedError):
            found.of_claims(claims(), now=NOW)
    else:
        assert found.of_claims(claims(), now=NOW) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.9.9.9"])
@pytest.mark.parametrize("host", ["localhost:8501", "localhost", "127.0.0.1:80", "[::1]:8501", "[::1]"])
def test_on_ones_own_machine_one_may_do_everything(address, host):
    connection = Connection.of(address, {"host": host})
    assert Policy().of_connection(connection) is Role.OPERATOR
    assert Policy(read_only=True).of_connection(connection) is Role.VISITOR


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {"host": "localhost:8501"}),
        (None, {"host": "localhost:8501"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"host": "demo.lab.org"}),
        ("127.0.0.1", {"host": "localhost.evil.org:8501"}),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "192.0.2.7"}),
        ("127.0.0.1", {"host": "localhost", "forwarded": "for=192.0.2.7"}),
    ],
)
def test_whoever_comes_from_elsewhere_is_a_visitor(address, headers):
    assert Policy().of_connection(Connection.of(address, headers)) is Role.VISITOR


def test_services_to_sign_in_with():
    assert providers({**AUTH, "client_id": "x"}) == ["default"]
    assert providers({**AUTH, "google": {"client_id": "x"}, "lab": {"client_id": "y"}}) == ["google", "lab"]

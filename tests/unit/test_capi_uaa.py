"""Tokens: who gets one, what it allows, and what a refusal looks like."""

import jwt
import pytest

from tests.unit.capi_bench import PASSWORD, Bench


@pytest.fixture
def bench():
    with Bench() as bench:
        yield bench


def test_password_grant_answers_what_clients_need(bench):
    answer = bench.tokens(scope="")
    assert {"access_token", "refresh_token", "expires_in", "scope", "jti"} <= set(answer)
    assert answer["token_type"] == "bearer"


def test_a_token_is_proved_by_the_published_key(bench):
    (key,) = bench.send("GET", f"{bench.config.uaa_url}/token_keys").json()["keys"]
    claims = jwt.decode(bench.token, jwt.PyJWK(key), algorithms=[key["alg"]], audience="cloud_controller")
    assert claims["user_name"] == "admin"
    assert claims["iss"] == "https://uaa.sys.example.test/oauth/token"
    assert jwt.get_unverified_header(bench.token)["kid"] == key["kid"]


@pytest.mark.parametrize(
    ("form", "auth", "status", "error"),
    [
        ({"password": "wrong"}, ("cf", ""), 401, "unauthorized"),
        ({"username": "nobody"}, ("cf", ""), 401, "unauthorized"),
        ({}, ("cf", "secret"), 401, "invalid_client"),
        ({}, ("other", ""), 401, "invalid_client"),
        ({}, None, 401, "invalid_client"),
        ({"grant_type": "magic"}, ("cf", ""), 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, ("cf", ""), 401, "unauthorized_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, ("cf", ""), 401, "invalid_token"),
        ({"scope": "clients.admin"}, ("cf", ""), 400, "invalid_scope"),
    ],
)
def test_refusals(bench, form, auth, status, error):
    assert bench.tokens(status=status, auth=auth, **form)["error"] == error


def test_refresh_gives_a_new_token_and_is_no_access_token(bench):
    refresh = bench.tokens()["refresh_token"]
    bench.token = bench.tokens(grant_type="refresh_token", refresh_token=refresh)["access_token"]
    assert bench.get("/v3/apps")["resources"] == []
    bench.token = refresh
    assert bench.get("/v3/apps", status=401)["errors"][0]["title"] == "CF-InvalidAuthToken"


def test_a_program_logs_in_with_the_administrators_secret(bench):
    answer = bench.tokens(grant_type="client_credentials", auth=("admin", PASSWORD))
    assert "refresh_token" not in answer
    bench.token = answer["access_token"]
    bench.make_app()


def test_scopes_decide_what_a_token_may_do(bench):
    body = bench.app_body("hello")
    bench.token = bench.tokens(scope="cloud_controller.read")["access_token"]
    bench.get("/v3/apps")
    (error,) = bench.post("/v3/apps", body, status=403)["errors"]
    assert (error["code"], error["title"]) == (10003, "CF-NotAuthorized")
    bench.token = bench.tokens(scope="openid")["access_token"]
    bench.get("/v3/apps", status=403)


@pytest.mark.parametrize(
    ("header", "code"),
    [({}, 10002), ({"authorization": "bearer nonsense"}, 1000), ({"authorization": "Basic Y2Y6"}, 1000)],
)
def test_without_a_good_token(bench, header, code):
    response = bench.send("GET", f"{bench.config.api_url}/v3/apps", headers=header)
    assert response.status_code == 401
    assert response.json()["errors"][0]["code"] == code


def test_tokens_of_another_lab_are_refused(bench):
    with Bench(key="two") as other:
        bench.token = other.token
    bench.get("/v3/apps", status=401)


def test_the_key_outlives_a_restart(tmp_path):
    url = f"sqlite:///{tmp_path}/capi.sqlite3"
    with Bench(url) as first:
        token = first.token
    with Bench(url) as second:
        second.token = token
        second.get("/v3/apps")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"grant_type", b"a=1&" * 200, b"x" * 70_000])
def test_nonsense_is_refused(bench, body):
    response = bench.send(
        "POST", f"{bench.config.uaa_url}/oauth/token", content=body, headers={"authorization": "Basic Y2Y6"}
    )
    assert 400 <= response.status_code < 500
    assert "error" in response.json()

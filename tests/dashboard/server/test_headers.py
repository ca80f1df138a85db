from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.server.headers import SecurityHeaders, content_security_policy


def client(*frame_ancestors: str) -> TestClient:
    def fail(request):
        raise ZeroDivisionError

    def with_own(request):
        return PlainTextResponse("own", headers={"Referrer-Policy": "unsafe-url"})

    routes = [Route("/own", with_own), Route("/fails", fail)]
    app = Starlette(routes=routes, middleware=[Middleware(SecurityHeaders, frame_ancestors=frame_ancestors)])
    return TestClient(app, raise_server_exceptions=False)


def directives(policy: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in (part.split() for part in policy.split(";"))}


def test_every_answer_has_the_headers_once_those_of_missing_pages_too():
    for path in ("/own", "/missing"):
        headers = client().get(path).headers
        assert headers.get_list("x-content-type-options") == ["nosniff"]
        assert headers.get_list("referrer-policy") == ["same-origin"]
        assert len(headers.get_list("content-security-policy")) == 1


def test_scripts_of_others_and_those_written_into_the_page_do_not_run():
    policy = directives(content_security_policy())
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:", "data:"} & set(policy["script-src"])
    assert policy["default-src"] == ["'self'"]
    assert policy["object-src"] == ["'none'"]


def test_only_named_sites_may_show_the_app_in_a_frame():
    assert directives(content_security_policy())["frame-ancestors"] == ["'self'"]
    policy = client("https://*.hf.space", "https://lab.example.org").get("/own").headers["content-security-policy"]
    assert directives(policy)["frame-ancestors"] == ["'self'", "https://*.hf.space", "https://lab.example.org"]

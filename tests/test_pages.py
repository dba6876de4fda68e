"""The pages' door: signing in, cookies, what pages may load, and what is in the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from api.keys import IMPLIED, SCOPES, create_key, revoke_key
from api.pages.rendering import POLICY
from eventlog.embedded import EmbeddedBroker
from models.identifiers import customer_id
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, world_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """One customer."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path_factory.mktemp("http")):
            folded.tell("sales.lead_created", "crm:4711", lead_id="L-1")
            folded.settle()
            yield world


def sign_in(world: HttpWorld, key: str, *, origin: str | None = None, **fields: str) -> requests.Response:
    return requests.post(
        f"{world.url}/sign-in",
        {"key": key, **fields},
        headers={"Origin": origin or world.url},
        allow_redirects=False,
        timeout=30,
    )


def test_a_key_signs_in_and_stays_where_scripts_and_other_sites_cannot_use_it(world: HttpWorld) -> None:
    answer = sign_in(world, world.keys["profile:read"], actor="E-7", next="/agent")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/agent")
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie
    assert "max-age" not in cookie and "expires" not in cookie
    behind_tls = requests.post(
        f"{world.url}/sign-in", {"key": world.keys["all"]}, timeout=30, allow_redirects=False,
        headers={"Origin": world.url, "X-Forwarded-Proto": "https"},
    )  # fmt: skip
    assert "secure" in behind_tls.headers["Set-Cookie"].lower()


@pytest.mark.parametrize("key", ["scv_nobody", "with~tilde", "ü", "a" * 300])
def test_what_is_no_key_is_told_so_on_the_form(world: HttpWorld, key: str) -> None:
    answer = sign_in(world, key)
    assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
    assert 'role="alert"' in answer.text and key not in answer.text


def test_signing_in_leads_to_no_other_site(world: HttpWorld) -> None:
    for wanted in ("https://evil.example/agent", "//evil.example", "/v1/profiles", "/agent/../../x"):
        answer = sign_in(world, world.keys["all"], next=wanted)
        assert answer.headers["Location"] == "/agent"


def test_only_pages_of_this_server_change_anything(world: HttpWorld) -> None:
    for origin in ("https://evil.example", "null", f"{world.url}.evil.example"):
        assert sign_in(world, world.keys["all"], origin=origin).status_code == 403
    nothing = requests.post(f"{world.url}/sign-in", {"key": world.keys["all"]}, timeout=30)
    assert nothing.status_code == 403


def test_the_cookie_opens_pages_and_nothing_of_the_api(world: HttpWorld) -> None:
    secret = world.keys["all"]
    cookies = {"scv_session": secret}
    assert requests.get(f"{world.url}/agent", cookies=cookies, timeout=30).status_code == 200
    refused = requests.get(f"{world.url}/v1/profiles/cus_7Q2M4X9K3BTD5HWE", cookies=cookies, timeout=30)
    assert refused.status_code == 401


def test_who_is_not_signed_in_is_asked_to_and_a_revoked_key_is_nobodys(world: HttpWorld) -> None:
    away = requests.get(f"{world.url}/agent", allow_redirects=False, timeout=30)
    assert (away.status_code, away.headers["Location"]) == (303, "/sign-in?next=/agent")
    made, secret = create_key(world.key_file, ["profile:read"], "short")
    session = requests.Session()
    session.cookies.set("scv_session", secret)
    assert session.get(f"{world.url}/agent", allow_redirects=False, timeout=30).status_code == 200
    revoke_key(world.key_file, made.id)
    assert session.get(f"{world.url}/agent", allow_redirects=False, timeout=30).status_code == 303


def test_a_key_without_the_scope_gets_a_page_that_says_so(world: HttpWorld) -> None:
    answer = requests.get(
        f"{world.url}/agent", cookies={"scv_session": world.keys["events:write"]}, timeout=30
    )
    assert answer.status_code == 403 and "profile:read" in answer.text
    assert answer.headers["Content-Type"].startswith("text/html")


def test_pages_forbid_whatever_is_not_served_here_and_hold_nothing_inline(world: HttpWorld) -> None:
    cookies = {"scv_session": world.keys["all"]}
    for path in ("/agent", "/sign-in"):
        answer = requests.get(world.url + path, cookies=cookies, timeout=30)
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-store"
        for source in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
            assert source.startswith(("/", "#"))
            if source.startswith("/static"):
                assert requests.get(world.url + source, timeout=30).status_code == 200
    assert "unsafe" not in POLICY
    for template in (ROOT / "api" / "templates").glob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:|hx-on", text)
        assert "http://" not in text and "https://" not in text


def test_static_files_are_cached_by_their_content_and_paths_choose_only_names(world: HttpWorld) -> None:
    page = requests.get(f"{world.url}/sign-in", timeout=30).text
    (named,) = re.findall(r'href="(/static/scv\.css\?v=[0-9a-f]+)"', page)
    served = requests.get(world.url + named, timeout=30)
    assert "immutable" in served.headers["Cache-Control"]
    assert served.headers["Content-Type"].startswith("text/css")
    again = requests.get(world.url + named, headers={"If-None-Match": served.headers["ETag"]}, timeout=30)
    assert again.status_code == 304
    assert "immutable" not in requests.get(f"{world.url}/static/scv.css", timeout=30).headers["Cache-Control"]
    for path in ("/static/", "/static/nothing.css", "/static/%2e%2e/app.py", "/static/..%2fkeys.py"):
        assert requests.get(world.url + path, timeout=30).status_code == 404


PLACE = f"/agent/customers/{customer_id('crm:4711')}"
# Every endpoint of the agent's page: its scope, and a form that works.
ENDPOINTS = {
    ("GET", "/agent"): ("profile:read", None),
    ("POST", "/agent/lookup"): ("profile:read", {"names": "crm:4711"}),
    ("GET", PLACE): ("profile:read", None),
    ("GET", "/agent/stream?profile=cus_0000000000000000"): ("profile:read", None),
    ("GET", f"{PLACE}/steps"): ("profile:read", None),
    ("GET", f"{PLACE}/past?as_of=2026-03-01"): ("profile:read", None),
    ("GET", f"{PLACE}/why/summary.last_nps"): ("profile:read", None),
    ("POST", f"{PLACE}/reveal"): ("profile:reveal", {"field:phone": "yes", "reason": "asked"}),
    ("POST", f"{PLACE}/verify"): ("profile:reveal", {"email": "ada@example.com"}),
    ("POST", f"{PLACE}/wrap-up"): ("events:write", {"form_id": "0" * 32, "disposition": "solved"}),
}


@pytest.mark.parametrize("place", ENDPOINTS, ids=" ".join)
def test_an_endpoint_of_a_page_opens_to_its_scope_and_to_pages_of_this_server(
    world: HttpWorld, place: tuple[str, str]
) -> None:
    (method, path), (wanted, form) = place, ENDPOINTS[place]

    def status(key: str, origin: str = world.url) -> int:
        return requests.request(
            method, world.url + path, data=form, cookies={"scv_session": key}, headers={"Origin": origin},
            allow_redirects=False, timeout=30,
        ).status_code  # fmt: skip

    for scope in SCOPES:
        opened = scope == wanted or wanted in IMPLIED.get(scope, ())
        assert status(world.keys[scope]) == (200 if opened else 403), scope
    assert status("scv_nobody") in (303, 401)
    if method == "POST":
        assert status(world.keys["all"], "https://evil.example") == 403


@pytest.mark.parametrize(
    "path, form, code",
    [
        ("/agent/lookup", {"names": " "}, "invalid_request"),
        ("/agent/lookup", {"names": "\x00\x01"}, None),
        ("/agent/lookup", {"names": "ä" * 70_000}, "body_too_large"),
        (f"{PLACE}/reveal", {"reason": "asked"}, "invalid_request"),
        (f"{PLACE}/reveal", {"field:phone": "yes"}, "invalid_request"),
        (f"{PLACE}/reveal", {"field:secrets": "yes", "reason": "asked"}, "invalid_request"),
        (f"{PLACE}/verify", {"email": " "}, "invalid_request"),
        (f"{PLACE}/wrap-up", {"form_id": "0" * 32}, "invalid_request"),
        ("/agent/customers/none/wrap-up", {"form_id": "0" * 32}, "unknown_customer"),
    ],
)
def test_a_form_that_makes_no_sense_is_answered_with_what_to_do(
    world: HttpWorld, path: str, form: dict[str, str], code: str | None
) -> None:
    answer = requests.post(
        world.url + path, form, cookies={"scv_session": world.keys["all"]}, headers={"Origin": world.url},
        timeout=30,
    )  # fmt: skip
    if code is None:
        assert answer.status_code == 200
    else:
        assert answer.json()["code"] == code and answer.json()["detail"]
    assert "Traceback" not in answer.text and not [line for line in world.log.lines if "unexpected" in line]


def test_the_log_says_nothing_of_keys_or_forms(world: HttpWorld) -> None:
    sign_in(world, world.keys["all"], actor="E-7")
    said = "\n".join(world.log.lines)
    assert "POST /sign-in 303" in said
    assert world.keys["all"].split("_", 2)[2] not in said


def test_templates_and_static_files_are_built_into_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    # Away from what earlier builds left in the folder of the code.
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    for room in ("models", "projections", "stores", "eventlog", "streams", "api", "ops"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-c", "import setuptools; setuptools.setup()", "build", "--build-lib", "built"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    wanted = {
        path.relative_to(ROOT)
        for folder in ("api/templates", "api/static", "api/pages")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert len(wanted) > 10
    assert [path for path in wanted if not (source / "built" / path).is_file()] == []

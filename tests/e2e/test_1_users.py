"""Two users over HTTP: environments, notebooks, marimo, persistent files, and access to each other's servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import pytest
import requests
from e2e.client import NewUser, Server, User, eventually
from e2e.deployment import Deployment, docker
from e2e.marimo_client import Marimo
from websockets.exceptions import InvalidStatus

# What a data scientist expects, really used.
DATASCIENCE = """
import altair, duckdb, matplotlib, numpy, pandas, polars, pyarrow, scipy.stats, seaborn, sklearn.linear_model
import matplotlib.pyplot as plt
frame = pandas.DataFrame({"x": numpy.arange(5), "y": 3 * numpy.arange(5) + 1})
model = sklearn.linear_model.LinearRegression().fit(frame[["x"]], frame["y"])
total = duckdb.sql("select sum(y) from frame").fetchall()[0][0]
print(round(float(model.coef_[0]), 6), polars.from_pandas(frame)["y"].sum(), total)
seaborn.lineplot(frame, x="x", y="y")
plt.show()
"""


def test_wrong_password_is_refused(deployment: Deployment) -> None:
    answer = User(deployment.url, "alice", "a wrong password").login()
    assert answer.status_code == 403
    assert "Invalid username or password" in answer.text


def test_password_guesses_are_rate_limited(deployment: Deployment, alice: User) -> None:
    """Sixty on the page at once, and more through the API; meanwhile others log in from the same address."""

    def guess(number: int) -> int:
        return User(deployment.url, "guessed", f"wrong {number}").login().status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(60)))
    assert set(answers) == {403, 429}
    # On a busy machine it takes so long that one more guess is allowed.
    assert answers.count(403) in (5, 6)
    asked = {"auth": {"username": "guessed", "password": deployment.secret("user_password")}}
    refused = User(deployment.url, "guessed", "").api("POST", "users/guessed/tokens", json=asked)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 30
    colleague = User(deployment.url, "colleague", deployment.secret("user_password"))
    assert colleague.login().url.startswith(f"{deployment.url}/hub/spawn")
    assert User(deployment.url, alice.name, alice.password).login().ok


def test_tokens_expire_and_are_limited(deployment: Deployment, new_user: NewUser) -> None:
    user = new_user("tokens")
    made = user.api("POST", "users/tokens/tokens", json={"note": "first"}).json()
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created"])
    assert lasts.days in (89, 90)
    page = user.request("GET", "/hub/token").text
    assert "Max (90 days)" in page
    assert ">Never</option>" not in page
    # A kept deployment has some already.
    statuses = [user.api("POST", "users/tokens/tokens", json={}).status_code for _ in range(50)]
    assert statuses[-1] == 409
    for token in user.api("GET", "users/tokens/tokens").json()["api_tokens"]:
        user.api("DELETE", f"users/tokens/tokens/{token['id']}")
    listed = docker("exec", deployment.hub, "python", "-m", "jupyterhub_ansible", "tokens", "list")
    assert "tokens\t" not in listed


def test_spawn_page_offers_both_environments(new_user: NewUser) -> None:
    page = new_user("dora").server().spawn_page()
    assert [slug for slug in ("base", "datascience") if f'name="profile" id="profile-{slug}"' in page.text] == [
        "base",
        "datascience",
    ]


def test_user_starts_base_by_the_form_and_files_survive_a_restart(new_user: NewUser) -> None:
    server = new_user("dora").server()
    server.start_by_form("base")
    with server.kernel() as kernel:
        assert kernel.execute("open('kept.txt', 'w').write('from before'); 6 * 7").result == "42"
    assert Marimo(server).run("first.py", "x = 20\nx", "y = x * 2 + 2\nprint('worked out')\ny") == [
        "<pre class='text-xs'>20</pre>",
        "<pre class='text-xs'>42</pre>worked out\n",
    ]
    server.stop()
    # Without a choice, the last environment is started again.
    server.start()
    assert server.read("kept.txt") == "from before"
    assert "x * 2 + 2" in server.read("first.py")


def test_datascience_computes_and_draws(bob: User) -> None:
    output = bob.server().run(DATASCIENCE)
    assert output.stdout == "3.0 35 35\n"
    assert "image/png" in output.media_types
    shown = Marimo(bob.server()).run("frame.py", "import polars\npolars.DataFrame({'n': [1, 2]}).sum().item()")
    assert shown == ["<pre class='text-xs'>3</pre>"]


def versions_of(server: Server, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.request("GET", f"jupyterhub-versions/{path}").json()["versions"]
    return found


def test_versions_of_what_is_saved_are_listed_compared_and_brought_back(alice: User) -> None:
    server = alice.server()
    # A kept deployment has those of earlier runs.
    path, renamed = (f"{name}-{token_hex(4)}.txt" for name in ("ring", "renamed"))
    server.write(path, "first\n")
    server.write(path, "second\n")
    newest, first = versions_of(server, path)
    assert (newest["present"], first["present"]) == (True, False)
    # A copy in the home, which nobody edits by mistake.
    copy = server.request("GET", f"api/contents/versions/{path}/{first['name']}").json()
    assert (copy["content"], copy["writable"]) == ("first\n", False)
    compared = server.request("GET", f"jupyterhub-versions/{path}?version={first['name']}").json()
    assert compared == {"note": "", "lines": ["@", "-second", "+first"]}
    # Another program changes the file: that is not lost either.
    server.run(f"open('{path}', 'w').write('third\\n')")
    server.request("POST", f"jupyterhub-versions/{path}", json={"version": first["name"]})
    assert server.read(path) == "first\n"
    kept = [server.read(f"versions/{path}/{each['name']}") for each in versions_of(server, path)]
    assert kept == ["first\n", "third\n", "second\n", "first\n"]
    # Also after it was renamed, and deleted.
    server.request("PATCH", f"api/contents/{path}", json={"path": renamed})
    eventually("the versions under the new name", lambda: len(versions_of(server, renamed)) == 4)
    server.request("DELETE", f"api/contents/{renamed}")
    server.request("POST", f"jupyterhub-versions/versions/{renamed}/{first['name']}", json={"version": first["name"]})
    assert server.read(renamed) == "first\n"


def test_versions_of_what_marimo_saves(alice: User) -> None:
    marimo, path = Marimo(alice.server()), f"saved-{token_hex(4)}.py"
    marimo.run(path, "x = 1")
    marimo.save(path, "x = 2")

    def copies() -> str:
        listed = alice.server().request("GET", f"api/contents/versions/{path}").json()["content"]
        return "".join(alice.server().read(each["path"]) for each in listed)

    # Made by the save, not by a request for the list.
    eventually("the version that marimo saved", lambda: "x = 2" in copies())
    assert "x = 1" in copies()


def test_versions_are_of_files_in_the_home_and_for_its_user_only(alice: User, new_user: NewUser) -> None:
    server = alice.server()
    server.run("import os; os.path.islink('out') or os.symlink('/etc', 'out')")
    for name in ("..%2f..%2fetc/passwd", "out/passwd", ".bashrc", "", "."):
        for method, body in (("GET", None), ("POST", {"version": "passwd"})):
            answer = alice.request(method, f"{server.path}jupyterhub-versions/{name}", json=body)
            assert answer.status_code == 404, answer.text
            assert "root:" not in answer.text
    server.write("100%25.txt", "first\n")
    [version] = versions_of(server, "100%25.txt")
    path = f"{server.path}jupyterhub-versions/100%25.txt"
    # Only versions are brought back, not any file.
    for name in ("../../.bashrc", "", "2026-01-01_00-00-00.txt"):
        assert alice.request("POST", path, json={"version": name}).status_code == 404
    body = {"version": version["name"]}
    assert alice.request("POST", path, json=body, headers={"X-XSRFToken": ""}).status_code == 403
    assert new_user("eve").request("GET", path).status_code == 403


def test_named_server_has_a_home_of_its_own(new_user: NewUser) -> None:
    user = new_user("erin")
    user.server().start("base")
    user.server().write("mine.txt", "default")
    named = user.server("second")
    named.start_by_form("datascience")
    assert named.run("import os, numpy; os.path.exists('mine.txt')").result == "False"
    named.write("mine.txt", "second")
    named.stop()
    named.start()
    assert (user.server().read("mine.txt"), named.read("mine.txt")) == ("default", "second")


def test_named_servers_are_limited(new_user: NewUser) -> None:
    user = new_user("greta")
    answers = [user.api("PUT", f"users/greta/servers/s{number}").status_code for number in range(4)]
    # 409: it exists already in a kept deployment.
    assert set(answers[:3]) <= {201, 409}
    assert answers[3] == 400


@pytest.mark.parametrize("page", ["lab", "marimo/", "api/contents"])
def test_user_cannot_open_another_user_s_server(alice: User, bob: User, page: str) -> None:
    # Positive control: the owner's same request succeeds.
    assert bob.request("GET", f"{bob.server().path}{page}").ok
    refused = alice.request("GET", f"{bob.server().path}{page}")
    assert refused.status_code == 403


def test_user_cannot_connect_to_another_user_s_kernel(alice: User, bob: User) -> None:
    with bob.server().kernel() as kernel:
        path = f"{bob.server().path}api/kernels/{kernel.id}/channels"
        bob.websocket(path).close()
        with pytest.raises(InvalidStatus) as refused:
            alice.websocket(path)
    assert refused.value.response.status_code == 403


def test_a_program_with_a_token_starts_a_server_and_runs_code(new_user: NewUser) -> None:
    """As client libraries do: no cookies, and the token in a header, or in the address of a websocket."""
    user = new_user(f"program-{token_hex(2)}")
    program = User(user.hub_url, user.name, "")
    program.session.headers["Authorization"] = f"token {user.token()}"
    server = program.server()
    server.start("base")
    with server.kernel() as kernel:
        assert kernel.execute("6 * 7").result == "42"
        given = str(program.session.headers.pop("Authorization"))
        channels, token = f"{server.path}api/kernels/{kernel.id}/channels", given.removeprefix("token ")
        for query in ("", "?token=wrong"):
            with pytest.raises(InvalidStatus):
                program.websocket(channels + query)
        program.websocket(f"{channels}?token={token}").close()
        # The address of a page may be a link that somebody else made.
        path = f"{server.path}api/kernels?token={token}"
        assert program.request("GET", path, allow_redirects=False).status_code in (302, 403)
        program.session.headers["Authorization"] = given


def test_tokens_give_access_to_the_own_server_only(deployment: Deployment, alice: User, bob: User) -> None:
    def status(token: str, path: str) -> int:
        headers = {"Authorization": f"token {token}"}
        return requests.get(deployment.url + path, headers=headers, allow_redirects=False, timeout=30).status_code

    # Both a token of the user's, and the server's own, which code in a notebook can read.
    server_token = alice.server().run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").stdout.strip()
    for token in (alice.token(), server_token):
        assert status(token, "/hub/api/user") == 200
        assert status(token, f"{bob.server().path}api/contents") == 403
        assert status(token, "/hub/api/users/bob") == 404
        assert status(token, "/hub/api/proxy") == 403
    assert status(alice.token(), f"{alice.server().path}api/contents") == 200


def test_user_cannot_start_or_stop_another_user_s_server(deployment: Deployment, alice: User, bob: User) -> None:
    before = deployment.server("bob")["State"]["StartedAt"]
    assert alice.api("DELETE", "users/bob/server").status_code == 404
    assert alice.api("POST", "users/bob/servers/intruder").status_code == 404
    assert deployment.server("bob")["State"]["StartedAt"] == before
    assert bob.server().run("1 + 1").result == "2"


# In the home, and as they are in addresses: nothing may decode twice, or take a part of a name for something else.
ODD_NAMES = ["a b.txt", "ünï ✓.txt", "100%.txt", "%41%2F.txt", "a#b?c=d&e+f;g.txt", "quote'\".txt"]
# Stands in for Streamlit and Dash: a page and a websocket below /proxy/PORT/.
WEB_SERVER = """
import asyncio, tornado.web, tornado.websocket
class Page(tornado.web.RequestHandler):
    def get(self): self.write(self.request.uri)
class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message): self.write_message(message)
tornado.web.Application([("/_stcore/stream", Echo), ("/.*", Page)]).listen(8501, "127.0.0.1")
"""
BIG = 400 * 1024**2


def test_odd_names_big_downloads_and_web_servers(new_user: NewUser) -> None:
    """What users of other hubs reported as broken there."""
    user = new_user("jörg o'neil+%41@example.org")
    server = user.server()
    # As the Hub's pages write it.
    server.path = f"/user/{quote(user.name, safe='@')}/"
    server.start("base")
    for name in ODD_NAMES:
        server.write(quote(name), name)
        assert server.read(quote(name)) == name
        assert server.request("GET", f"files/{quote(name)}?download=1").content == name.encode()
        server.request("DELETE", f"api/contents/{quote(name)}")
    assert [entry["name"] for entry in server.request("GET", "api/contents").json()["content"]] == ["versions"]
    with server.kernel() as kernel:
        # More than half of the server's memory with what it uses itself; torch's workers exchange tensors in /dev/shm.
        assert int(kernel.execute("import os; s = os.statvfs('/dev/shm'); s.f_frsize * s.f_blocks").result) >= BIG
        kernel.execute(f"open('big', 'wb').truncate({BIG})")
        with server.request("GET", "files/big", stream=True) as download:
            assert sum(len(chunk) for chunk in download.iter_content(1024**2)) == BIG
        kernel.execute(WEB_SERVER)
        assert server.request("GET", "proxy/8501/a%20b/%C3%BC?c=%26d").text == "/a%20b/%C3%BC?c=%26d"
        socket = user.websocket(f"{server.path}proxy/8501/_stcore/stream")
        socket.send("echo")
        assert socket.recv(10) == "echo"
        socket.close()

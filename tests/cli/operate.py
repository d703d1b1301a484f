"""What an administrator relies on: a backup made while the server writes, a database that another
program holds, a process without rights on a read-only system, and what nobody may get out of it."""

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess

from program import *

RES = "2-gemmascope-res-2k"
SECRET = "t0p-s3cret-of-the-lab"


def single(server, text, headers=None):
    return server.post("/v1/activation/single", {"prompt": text, "source": RES, "index": "140"},
                       headers)


def backup():
    server = Server()
    copy = os.path.join(scratch(), "copy.db")
    before = [single(server, f"before {i}") for i in range(5)]
    threads, replies = in_threads(lambda i: [single(server, f"during {i} {j}") for j in range(10)],
                                  list(range(4)))
    with check("the backup command of docs/operations.md copies a database that is written to"):
        done = subprocess.run(["sqlite3", server.db, f".backup {copy}"], capture_output=True,
                              check=False, timeout=SECONDS)
        expect((done.returncode, done.stderr), (0, b""))
        for thread in threads:
            thread.join(SECONDS)
        expect({reply.status for some in replies for reply in some}, {200})
    with check("the copy is whole"):
        with contextlib.closing(sqlite3.connect(copy)) as db:
            expect(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            expect(db.execute("PRAGMA foreign_key_check").fetchall(), [])
    server.stop()
    server = Server(db=copy)
    with check("a server on the copy answers from it, byte for byte"):
        for i, reply in enumerate(before):
            again = single(server, f"before {i}")
            expect((again.cache, again.body == reply.body), ("hit", True))
    server.stop()


def locked():
    server = Server()
    expect(single(server, "kept").status, 200)
    with contextlib.closing(sqlite3.connect(server.db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with check("while another program holds the database, what is there is answered"):
            expect(single(server, "kept").cache, "hit")
            expect(server.post("/v1/tokenize", {"text": "a"}).status, 200)
        threads, replies = in_threads(lambda text: single(server, text), ["new"])
        threads[0].join(1)
        other.execute("ROLLBACK")
    with check("what is new waits for it, and is kept once it lets go"):
        threads[0].join(SECONDS)
        expect(replies[0].status, 200)
        expect(single(server, "new").cache, "hit")
        expect(server.stop(), 0)


def without_rights():
    name = "it serves as nobody, on a read-only system, with one folder to write to"
    data = scratch()
    share = scratch()
    for part in ("static", "migrations", "demo"):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(share, part))
    program = shutil.copy(DARKMATTER, share)
    for folder, _, _ in os.walk(share):
        os.chmod(folder, 0o755)
    os.chmod(data, 0o777)
    inside = (f"mount --bind {data} {data} && mount -o remount,bind,ro / && exec setpriv --reuid 5002"
              f" --regid 5002 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all env"
              f" TMPDIR={data} {program} serve --port 0 --db {data}/lab.db --share {share}")
    tried = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                            "mount -o remount,bind,ro / && ! touch /tmp/x 2>/dev/null"],
                           capture_output=True, check=False)
    if tried.returncode:
        skip(name, "needs root and mount namespaces")
        return
    process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", inside],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    with check(name):
        line = process.stdout.readline().decode()
        expect_in("darkmatter serves ", line)
        server = Server.__new__(Server)
        server.port = int(line.split(", database ")[0].rsplit(":", 1)[1])
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            fields = dict(entry.split(":\t", 1) for entry in file)
        expect((fields["Uid"].split()[0], fields["CapEff"].strip(), fields["CapBnd"].strip()),
               ("5002", "0" * 16, "0" * 16))
        expect(fields["NoNewPrivs"].strip(), "1")
        expect(single(server, "there is").status, 200)
        until(lambda: server.get("/v1/capabilities").json()["index"]["state"] == "done",
              "the demo's index, which wants a temporary file", 300)
        process.terminate()
        expect(process.wait(SECONDS), 0)
    process.kill()
    process.stdout.close()
    process.stderr.close()


def raw(server, data):
    """All that the server says to these bytes until it closes, or is quiet for two seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as connection:
        said = b""
        with contextlib.suppress(OSError):
            connection.sendall(data)
            while part := connection.recv(65536):
                said += part
        return said


def abuse():
    server = Server("--log", "text", environment={"DARKMATTER_SECRET": SECRET})
    key = {"X-SECRET-KEY": SECRET}
    with check("a secret that is wrong, longer, shorter, or in the wrong place is 401"):
        for sent in ("", SECRET[:-1], SECRET + "x", SECRET.upper(), SECRET[::-1]):
            expect(single(server, "a", {"X-SECRET-KEY": sent}).status, 401, sent)
        expect(server.get(f"/metrics?X-SECRET-KEY={SECRET}").status, 401)
        expect(server.get("/metrics", {"Authorization": f"Bearer {SECRET}"}).status, 401)
        expect(single(server, "a", key).status, 200)
    with check("no route but the page and /health is open without it"):
        for path, methods in server.get("/openapi.json", key).json()["paths"].items():
            for method in methods:
                path = path.replace("{", "").replace("}", "")
                found = server.request(method.upper(), path, "{}" if method == "post" else None)
                expect(found.status, 200 if path == "/health" else 401, f"{method} {path}")
    with check("text in an address or a field comes back as JSON text, never as markup or SQL"):
        evil = "<script>alert(1)</script>'; DROP TABLE text; --"
        for reply in (server.get("/api/feature/a/b/1?x=" + "%3Cscript%3E", key),
                      server.post("/api/search-token", {"modelId": "gemma-2-demo", "source": RES,
                                                        "token": evil, "mode": "fires"}, key),
                      server.post("/api/explanation/search-all", {"query": evil}, key),
                      server.post("/v1/activation/single", {"prompt": "a", "source": evil,
                                                            "index": "1"}, key)):
            expect_in("application/json", reply.headers["content-type"])
            expect(reply.headers["x-content-type-options"], "nosniff")
            expect_in("default-src 'self'", reply.headers["content-security-policy"])
            reply.json()
        expect(single(server, "a", key).cache, "hit")  # the table is there
    with check("paths out of the site find nothing"):
        for path in ("/../Makefile", "/%2e%2e/Makefile", "/..%2f..%2fetc/passwd", "//etc/passwd",
                     "/static/../../etc/passwd", "/.git/config", "/app.js/../../Makefile"):
            said = raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-SECRET-KEY: {SECRET}"
                       "\r\nConnection: close\r\n\r\n".encode())
            expect(said.split(b" ")[1] in (b"400", b"404"), True, said[:200])
    with check("headers without end, lines without end and lengths that lie do no harm"):
        for data in (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000, b"GET /" + b"a" * 200000,
                     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200000,
                     b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e9\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\0" * 5000, b"\r\n" * 5000):
            raw(server, data)
        expect(server.get("/health").status, 200)
    with check("the secret is in no log line, no metric and no byte of the database"):
        expect(SECRET in server.stderr(), False)
        expect(SECRET.encode() in server.get("/metrics", key).body, False)
        server.stop()
        expect(SECRET in server.stderr(), False)
        with open(server.db, "rb") as file:
            expect(SECRET.encode() in file.read(), False)


backup()
locked()
without_rights()
abuse()
finish()

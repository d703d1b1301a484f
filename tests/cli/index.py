"""darkmatter index: what the database's dashboards say is counted again from the activations, read
as docs/database.md lays them out; runs that are killed, interrupted or run beside a server come to
the same. SOAK=1 kills at 50 moments instead of 6 and looks at every feature."""

import glob
import gzip
import os
import random
import re
import signal
import sqlite3
import subprocess
import time

import recount
from program import *

SOAK = os.environ.get("SOAK") == "1"


# --- running --------------------------------------------------------------------------------------

def index(db, *flags, wait=True):
    process = subprocess.Popen([DARKMATTER, "index", "--db", db, *flags], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    if not wait:
        return process
    out, said = process.communicate(timeout=SECONDS)
    expect(process.returncode, 0, f"exit code ({said.decode()[-500:]})")
    return out.decode(), said.decode()


def dashboards(path):
    """Everything that indexing made, the time of it and the number of the build left out."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        built = ("SELECT d.source, t.number, {} FROM dashboard d JOIN {} t USING (build)"
                 " ORDER BY 1, 2, 3, 4")
        return {table: db.execute(query).fetchall() for table, query in {
            "dashboard": "SELECT source, documents, tokens, context, corpora, seed, counts, maxima"
                         " FROM dashboard ORDER BY 1",
            "feature": built.format("count, maximum, statistic, label", "feature"),
            "example": built.format("part, place, text, corpus, document, position, value, bin_min,"
                                    " bin_max, bin_contains, along", "example"),
            "label_text": "SELECT source, l.rowid & 4294967295, label FROM label_text l"
                          " JOIN dashboard ON build = l.rowid >> 32 ORDER BY 1, 2",
            "leftovers": "SELECT count(*) FROM build",
            **{table: f"SELECT * FROM {table} ORDER BY 1, 2, 3" for table in
               ("feature_logits", "document", "indexed", "activation")}}.items()}


def expect_same(found, expected):
    for table, rows in expected.items():
        expect(len(found[table]), len(rows), f"rows of {table}")
        for row, other in zip(found[table], rows):
            if row != other:
                raise AssertionError(f"{table}: expected {other!r}, found {row!r}"[:800])


FOLDERS = {"2-gemmascope-att-2k": "gemma-scope-demo-att/layer_2/width_2k/average_l0_19",
           "2-gemmascope-mlp-2k": "gemma-scope-demo-mlp/layer_2/width_2k/average_l0_18",
           "2-gemmascope-res-2k": "gemma-scope-demo-res/layer_2/width_2k/average_l0_21",
           "3-gemmascope-res-2k": "gemma-scope-demo-res/layer_3/width_2k/average_l0_25"}


def counted_again():
    path = os.path.join(scratch(), "lab.db")
    out, said = index(path, "--limit-tokens", "20000")
    with check("20,000 tokens of the demo are indexed, and what was done is said"):
        expect_in("4 sources", out)
        expect_in("contexts", said)
    server, texts = Server(db=path), recount.token_texts()
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for row, name, d_sae in db.execute("SELECT id, name, d_sae FROM source").fetchall():
            step = 1 if row == 1 or SOAK else 16
            with check(f"every number of {name} in the database is what its activations say"):
                source = recount.recount(db, row, name, d_sae)
                recount.check_source(db, source, step)
            with check(f"and so is every number that the API gives of {name}"):
                recount.check_api(db, source, server, texts, range(0, d_sae, step))
            with check(f"what features of {name} promote is what the weights say"):
                recount.check_logits(db, source, FOLDERS[name], range(7, d_sae, 500))
        with check("the job is kept as done"):
            expect(db.execute("SELECT kind, state, error FROM job").fetchall(),
                   [("index", "done", "")])
    server.stop()


FLAGS = ["--limit-tokens", "6000", "--source", "2-gemmascope-res-2k", "--source",
         "2-gemmascope-att-2k"]


def exported(path):
    """What export writes, by source and file: the bytes, createdAt apart."""
    found = {}
    for name in FLAGS[3::2] if SOAK else FLAGS[3:4]:
        folder = os.path.join(scratch(), name)
        code, _, said = run("export", "--db", path, "--source", name, folder,
                            seconds=10 * SECONDS)
        expect(code, 0, said)
        for file in glob.glob(os.path.join(folder, "**", "*.jsonl*"), recursive=True):
            with open(file, "rb") as stream:
                content = stream.read()
            if file.endswith(".gz"):
                expect(content[4:8], bytes(4), "time in the header of gzip")
                content = gzip.decompress(content)
            found[name, os.path.relpath(file, folder)] = re.sub(
                rb'"createdAt":"[^"]*"', b'"createdAt":""', content)
    return found


def expect_same_files(found, expected):
    expect(sorted(found), sorted(expected), "files")
    for file, content in expected.items():
        expect(len(content) > 0, True, f"something in {file}")
        for line, other in zip(found[file].split(b"\n"), content.split(b"\n")):
            if line != other:
                raise AssertionError(f"{file}: expected {other!r}, found {line!r}"[:800])
        expect(len(found[file]), len(content), f"bytes of {file}")


def killed(unbroken, files, seconds):
    """Kills at random moments of a run, up to five to a database; then the run to its end."""
    random.seed(5)
    kills, turn, most = 0, 0, 50 if SOAK else 6
    while kills < most and turn < 2 * most:
        path, mine, turn = os.path.join(scratch(), "lab.db"), 0, turn + 1
        with check(f"killed with SIGKILL it comes to the same rows and files (database {turn})"):
            while mine < 5 and kills + mine < most:
                process, begun = index(path, *FLAGS, wait=False), time.monotonic()
                try:
                    process.communicate(timeout=random.uniform(0.05, 0.9 * seconds))
                    if mine == 0:  # a whole run is shorter now than it was
                        seconds = min(seconds, time.monotonic() - begun)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    mine += 1
            index(path, *FLAGS)
            expect_same(dashboards(path), unbroken)
            expect_same_files(exported(path), files)
        kills += mine
    with check(f"{most} kills in all"):
        expect(kills, most, "kills")


def interrupted(unbroken):
    path = os.path.join(scratch(), "lab.db")
    with check("Ctrl-C stops it at the next batch with exit code 1 and a line how to go on"):
        process = index(path, *FLAGS, wait=False)

        def begun():
            try:
                with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                    return db.execute("SELECT count(*) FROM indexed").fetchone()[0]
            except sqlite3.OperationalError:
                return 0
        until(begun, "the first batch")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
        expect(process.returncode, 1, "exit code")
        expect_in("the same command goes on", said.decode())
    with check("what was there then has dashboards, and the next run ends like an unbroken one"):
        with contextlib.closing(sqlite3.connect(path)) as db:
            (documents, behind), = db.execute(
                "SELECT d.documents, i.documents FROM dashboard d JOIN indexed i USING (source)"
                " WHERE source = 1").fetchall()
            expect(documents, behind, "documents")
            expect(0 < documents < 47, True, "stopped on the way")
        index(path, *FLAGS)
        expect_same(dashboards(path), unbroken)


def two_at_once(unbroken):
    path = os.path.join(scratch(), "lab.db")
    with check("of two at once the second waits and says for whom; together they come to the same"):
        first = index(path, *FLAGS, wait=False)
        until(lambda: os.path.exists(path + "-index"), "the first one's lock")
        second = index(path, *FLAGS, wait=False)
        said = [process.communicate(timeout=2 * SECONDS)[1].decode() for process in (first, second)]
        expect([first.returncode, second.returncode], [0, 0], f"exit codes ({said})")
        expect_in("waiting for process ", "".join(said))
        expect_same(dashboards(path), unbroken)


def beside_a_server(unbroken):
    server = Server()
    with check("it works while a server answers from the same database"):
        process = index(server.db, *FLAGS, wait=False)
        answers = 0
        while process.poll() is None:
            reply = server.post("/v1/activation/single",
                                {"prompt": f"In the beginning {answers}", "index": "140",
                                 "source": "2-gemmascope-res-2k"})
            expect(reply.status, 200, "status")
            answers += 1
        process.communicate()
        expect(process.returncode, 0, "exit code")
        expect(answers > 2, True, "answers meanwhile")
    with check("and comes to the same counts"):
        found = dashboards(server.db)
        expect([row[1:4] for row in found["dashboard"]],
               [row[1:4] for row in unbroken["dashboard"]], "documents, tokens, context")
    server.stop()


def by_itself():
    server = Server(auto_index=True)

    def job():
        return server.get("/api/index").json()["jobs"][0]
    with check("on first start a server indexes the demo by itself and says how far it is"):
        until(lambda: server.get("/v1/capabilities").json()["index"]["tokens"] > 0, "tokens")
        told = server.get("/v1/capabilities").json()["index"]
        expect((told["state"], told["total"]), ("running", 50000))
        expect(job()["request"]["corpus"], "demo")
        expect(job()["request"]["evaluate_tokens"], 10000)
    with check("the site answers meanwhile"):
        begun = time.monotonic()
        reply = server.post("/v1/activation/single", {"prompt": "In the beginning", "index": "140",
                                                      "source": "2-gemmascope-res-2k"})
        expect(reply.status, 200)
        expect(time.monotonic() - begun < 10, True, "within ten seconds")
    with check("a second job has to wait, and says for which"):
        reply = server.post("/api/index", {"texts": ["a text"]})
        expect(reply.status, 503)
        expect_in("index job 1 runs", reply.error())
    with check("SIGTERM stops it at the next batch, and the next start goes on"):
        expect(server.stop(), 0, "exit code")
        with contextlib.closing(sqlite3.connect(server.db)) as db:
            before = db.execute("SELECT min(documents) FROM indexed").fetchone()[0]
            expect(db.execute("SELECT state FROM job").fetchall(), [("interrupted",)])
        server = Server(db=server.db, auto_index=True)
        until(lambda: job()["progress"]["documents"] > before, "further documents")
        expect((job()["id"], job()["state"]), (1, "running"))
    with check("a job can be cancelled, leaves dashboards, and is not started again"):
        expect(server.post("/api/index/cancel", {"id": 1}).status, 200)
        until(lambda: job()["state"] == "cancelled", "the end of the job")
        expect(server.post("/api/index/cancel", {"id": 1}).status, 404)
        server.stop()
        with contextlib.closing(sqlite3.connect(server.db)) as db:
            expect(db.execute("SELECT count(*) FROM dashboard").fetchone()[0], 4)
        server = Server(db=server.db, auto_index=True)
        expect(server.get("/v1/capabilities").json()["index"]["state"], "none")
    with check("a job that was asked to evaluates its SAEs, goes on with that after SIGTERM, and their "
               "reports are there"):
        report = "/api/source/gemma-2-demo/2-gemmascope-res-2k/evaluation"
        expect(server.get(report).json()["evaluations"], [])
        expect(server.post("/api/index", {"corpus": "demo", "limit_tokens": 3000,
                                          "evaluate_tokens": 3000}).status, 200)
        until(lambda: job()["progress"]["phase"] == "evaluation", "the evaluation")
        expect(server.stop(), 0, "exit code")
        server = Server(db=server.db, auto_index=True)
        until(lambda: job()["state"] == "done", "the end of the job")
        expect(job()["progress"]["tokens"] >= job()["progress"]["evaluated"] > 2700, True, "tokens")
        reports = server.get(report).json()["evaluations"]
        expect([(one["report"]["finished"], one["report"]["tokenLimit"]) for one in reports],
               [(True, 3000)])
        expect(reports[0]["report"]["linear"]["r2"] is not None, True, "the linear part")
    with check("texts in a request are indexed"):
        reply = server.post("/api/index", {"texts": ["And the earth was without form", "void"],
                                           "sources": ["2-gemmascope-res-2k"]})
        expect((reply.status, reply.json()["state"]), (200, "running"))
        until(lambda: job()["state"] == "done", "the end of the job")
        expect(job()["request"]["numTexts"], 2)
        expect("texts" in job()["request"], False, "texts repeated")
    server.stop()


def refused():
    path = os.path.join(scratch(), "lab.db")
    for flags, code, word in [(["--corpus", "/no/such.jsonl"], 1, "/no/such.jsonl"),
                              (["--source", "9-none"], 1, "9-none"),
                              (["--context", "300"], 1, "2 to 256"),
                              (["--context", "1"], 2, "--context"),
                              (["--limit-tokens", "0"], 2, "--limit-tokens"),
                              (["--model", DEMO], 2, "--corpus"),
                              (["--name", "x", "--corpus", "a", "--corpus", "b"], 2, "--name")]:
        with check(f"index {' '.join(flags)} ends with {code} and names what is wrong"):
            found, _, said = run("index", "--db", path, *flags)
            expect(found, code, "exit code")
            expect_in(word, said)
    with check("lines from stdin are indexed, wrong ones named"):
        code, _, said = run("index", "--db", path, "--corpus", "-", "--source",
                            "2-gemmascope-res-2k",
                            stdin='{"text":"In the beginning"}\nwrong\n{"tokens":[2,5,6]}\n')
        expect(code, 0, said)
        expect_in("line 2", said)
        with contextlib.closing(sqlite3.connect(path)) as db:
            expect(db.execute("SELECT name FROM corpus JOIN indexed ON corpus = id").fetchall(),
                   [("stdin",)])


refused()
counted_again()
reference = os.path.join(scratch(), "lab.db")
started = time.monotonic()
index(reference, *FLAGS)
started = time.monotonic() - started
exports = exported(reference)
reference = dashboards(reference)
killed(reference, exports, started)
interrupted(reference)
two_at_once(reference)
beside_a_server(reference)
by_itself()
finish()

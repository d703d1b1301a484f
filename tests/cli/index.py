"""darkmatter index: what the database's dashboards say is counted again from the activations, read
as docs/database.md lays them out; runs that are killed, interrupted or run beside a server come to
the same. SOAK=1 kills at 50 moments instead of 10."""

import bisect
import collections
import itertools
import os
import random
import signal
import sqlite3
import struct
import subprocess
import time

from program import *

SOAK = os.environ.get("SOAK") == "1"
SPECIAL = {0, 1, 2}  # <pad>, <eos>, <bos>
Place = collections.namedtuple("Place", "corpus document position text")


# --- the blobs ------------------------------------------------------------------------------------

def features(blob):
    numbers, number, shift, at = [], 0, 0, 0
    while not numbers or len(numbers) <= numbers[0]:
        number |= (blob[at] & 0x7F) << shift
        shift += 7
        if blob[at] < 0x80:
            numbers.append(number)
            number = shift = 0
        at += 1
    values = struct.unpack_from(f"<{numbers[0]}f", blob, at)
    return dict(zip(itertools.accumulate(numbers[1:]), values))


def histogram(blob):
    """(low, high, counts), or None."""
    bins, low, high = struct.unpack_from("<Iff", blob)
    expect(len(blob), 12 + 4 * bins, "bytes of a histogram")
    return (low, high, list(struct.unpack_from(f"<{bins}I", blob, 12))) if bins else None


# --- counting again -------------------------------------------------------------------------------

def recount(db, source):
    """{feature: [(value, place)]} of all that counts, the number of tokens, and the rows by text."""
    places = collections.defaultdict(list)
    for corpus, number, text in db.execute(
            "SELECT d.corpus, d.number, d.text FROM document d JOIN indexed i ON i.corpus = d.corpus"
            " WHERE i.source = ? AND d.number < i.documents", (source,)):
        places[text].append((corpus, number))
    found, tokens, rows = collections.defaultdict(list), 0, {}
    for text, standing in places.items():
        ids = db.execute("SELECT ids FROM text WHERE id = ?", (text,)).fetchone()[0]
        ids = struct.unpack(f"<{len(ids) // 4}i", ids)
        blobs = db.execute("SELECT features FROM activation WHERE source = ? AND text = ?"
                           " ORDER BY position", (source, text)).fetchall()
        rows[text] = [features(blob) for (blob,) in blobs]
        expect(len(rows[text]), len(ids), "rows of a text")
        for position, token in enumerate(ids):
            if token in SPECIAL:
                continue
            tokens += len(standing)
            for feature, value in rows[text][position].items():
                for corpus, number in standing:
                    found[feature].append((value, Place(corpus, number, position, text)))
    return found, tokens, rows


def binned(values):
    low, high = min(values), max(values)
    if low == high:
        return None
    counts = [0] * 50
    for value in values:
        counts[min(49, int((value - low) / (high - low) * 50))] += 1
    return low, high, counts


def check_examples(db, source, feature, found, tokens, rows):
    values = [value for value, _ in found]
    top = sorted(found, key=lambda e: (-e[0], e[1][:3]))[:20]
    edges = [max(values) * i / 5 for i in range(5)] + [max(values)]
    in_interval = [0] * 5
    for value in values:
        in_interval[min(4, bisect.bisect_left(edges, value, 1) - 1)] += 1
    seen, parts = {place: value for value, place in found}, collections.Counter()
    for (part, place, text, corpus, document, position, value, low, high, contains, along) in \
            db.execute("SELECT part, place, text, corpus, document, position, value, bin_min,"
                       " bin_max, bin_contains, along FROM example WHERE source = ? AND number = ?"
                       " ORDER BY part, place", (source, feature)):
        where = Place(corpus, document, position, text)
        expect(place, parts[part], f"place in part {part}")
        parts[part] += 1
        expect(seen[where], value, "value of an example")
        expect(features(along), {p: row[feature] for p, row in enumerate(rows[text])
                                 if feature in row}, "values along the text")
        if part == 0:
            expect((value, where), top[place], "top activation")
            expect((low, contains), (-1, -1), "bin of a top activation")
            continue
        i = 5 - part
        f32 = [struct.unpack("<f", struct.pack("<f", edge))[0] for edge in edges]
        expect((low, high), (f32[i], f32[i + 1]), "borders of an interval")
        expect(edges[i] < value <= edges[i + 1], True, "value within its interval")
        zeros = tokens - len(found) if i == 0 else 0
        expect(contains, (in_interval[i] + zeros) / tokens, "share of an interval")
    expect(parts[0], len(top), "top activations")
    for i in range(5):
        expect(parts[5 - i], min(5, in_interval[i]), f"samples of interval {i}")


def check_source(db, source, d_sae, examples_of):
    found, tokens, rows = recount(db, source)
    documents, said, counts, maxima = db.execute(
        "SELECT documents, tokens, counts, maxima FROM dashboard WHERE source = ?",
        (source,)).fetchone()
    expect(said, tokens, "tokens")
    expect(documents, db.execute("SELECT sum(documents) FROM indexed WHERE source = ?",
                                 (source,)).fetchone()[0], "documents")
    expect(tokens, db.execute("SELECT sum(tokens) FROM indexed WHERE source = ?",
                              (source,)).fetchone()[0], "tokens behind the marks")
    expect(list(struct.unpack(f"<{d_sae}I", counts)),
           [len(found[i]) for i in range(d_sae)], "counts")
    largest = [max((value for value, _ in found[i]), default=0.0) for i in range(d_sae)]
    expect(list(struct.unpack(f"<{d_sae}f", maxima)), largest, "maxima")
    kept = db.execute("SELECT number, count, maximum, statistic FROM feature WHERE source = ?"
                      " ORDER BY number", (source,)).fetchall()
    expect(len(kept), d_sae, "features")
    for number, count, maximum, statistic in kept:
        expect((count, maximum), (len(found[number]), largest[number]), f"feature {number}")
        values = [value for value, _ in found[number]]
        expect(histogram(statistic), binned(values) if values else None, f"histogram of {number}")
        if values and number % examples_of == 0:
            check_examples(db, source, number, found[number], tokens, rows)


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
    """Everything that indexing made, the time of it left out."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        tables = {"dashboard": "source, documents, tokens, context, corpora, seed, counts, maxima",
                  "feature": "*", "example": "*", "document": "*", "indexed": "*",
                  "label_text": "rowid, label", "activation": "*"}
        return {table: db.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3, 4"
                                  if columns == "*" else f"SELECT {columns} FROM {table} ORDER BY 1"
                                  ).fetchall() for table, columns in tables.items()}


def expect_same(found, expected):
    for table, rows in expected.items():
        expect(len(found[table]), len(rows), f"rows of {table}")
        for row, other in zip(found[table], rows):
            if row != other:
                raise AssertionError(f"{table}: expected {other!r}, found {row!r}"[:800])


def counted_again():
    path = os.path.join(scratch(), "lab.db")
    out, said = index(path, "--limit-tokens", "20000")
    with check("20,000 tokens of the demo are indexed, and what was done is said"):
        expect_in("4 sources", out)
        expect_in("contexts", said)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for source, name, d_sae in db.execute("SELECT id, name, d_sae FROM source").fetchall():
            with check(f"every number of {name} is what its activations say"):
                check_source(db, source, d_sae, 1 if source == 1 else 16)
        with check("the job is kept as done"):
            expect(db.execute("SELECT kind, state, error FROM job").fetchall(),
                   [("index", "done", "")])


FLAGS = ["--limit-tokens", "6000", "--source", "2-gemmascope-res-2k", "--source",
         "2-gemmascope-att-2k"]


def killed(unbroken):
    """Five kills a database, each after another while; then the run to its end."""
    random.seed(5)
    for turn in range(10 if SOAK else 2):
        path = os.path.join(scratch(), "lab.db")
        with check(f"killed five times with SIGKILL it comes to the same ({turn + 1})"):
            for _ in range(5):
                process = index(path, *FLAGS, wait=False)
                time.sleep(random.uniform(0.15, 1.1))
                process.kill()
                process.communicate()
            index(path, *FLAGS)
            expect_same(dashboards(path), unbroken)


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
index(reference, *FLAGS)
reference = dashboards(reference)
killed(reference)
interrupted(reference)
beside_a_server(reference)
by_itself()
finish()

"""darkmatter index of the model's own neurons: every figure is counted again from the values that
POST /v1/trace gives for the same texts; runs that are killed, cut otherwise or beside SAEs come to
the same bytes."""

import array
import collections
import math
import os
import random
import signal
import sqlite3
import struct
import time

import recount
from program import *

TOKENS = 6000
SOURCES = {"2": "neurons.2", "3-mlp_out": "mlp_out.3"}
SPECIAL = {0, 1, 2}  # <pad>, <eos>, <bos>
FLAGS = ["--limit-tokens", str(TOKENS)]
AROUND = 24  # tokens that are kept of a text, 15 of them in front


def index(db, *flags, code=0):
    found, _, said = run("index", "--db", db, *flags)
    expect(found, code, f"exit code ({said.strip()[-300:]})")


def with_sources():
    return [part for name in SOURCES for part in ("--source", name)]


# --- the values, from the server ------------------------------------------------------------------

def tensors(reply):
    """{name: (shape, floats)} of a safetensors file."""
    size, = struct.unpack("<Q", reply[:8])
    header, found = json.loads(reply[8:8 + size]), {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            found[name] = entry["shape"], array.array("f", reply[8 + size + begin:8 + size + end])
    return found


def texts_of(db):
    """[(corpus, document, text, ids)] in the order of documents."""
    rows = db.execute("SELECT d.corpus, d.number, d.text, t.ids FROM document d JOIN text t"
                      " ON t.id = d.text ORDER BY 1, 2").fetchall()
    return [(c, n, t, struct.unpack(f"<{len(ids) // 4}i", ids)) for c, n, t, ids in rows]


def traced(server, texts):
    """[{name: (shape, floats)}], text by text."""
    answers = []
    for _, _, _, ids in texts:
        reply = server.post("/v1/trace", {"tokens": ids, "read": list(SOURCES.values()),
                                          "format": "safetensors"})
        expect(reply.status, 200, "status of a trace")
        answers.append(tensors(reply.body))
    return answers


# --- counting again -------------------------------------------------------------------------------

def bins_of(values):
    """(exponent, first bin, counts): the finest powers of two for which 50 bins suffice."""
    e = -30
    while math.floor(max(values) / 2 ** e) - math.floor(min(values) / 2 ** e) >= 50:
        e += 1
    first = math.floor(min(values) / 2 ** e)
    counts = [0] * (math.floor(max(values) / 2 ** e) - first + 1)
    for value in values:
        counts[math.floor(value / 2 ** e) - first] += 1
    return e, first, counts


def intervals_of(e, first, counts, tokens):
    """From the lowest up: (low, high, share)."""
    group = first // 4
    groups = (first + len(counts) - 1) // 4 - group + 1
    for k in range(5):
        low, high = groups * k // 5, groups * (k + 1) // 5
        inside = sum(n for i, n in enumerate(counts) if low <= (first + i) // 4 - group < high)
        yield (group + low) * 4 * 2 ** e, (group + high) * 4 * 2 ** e, inside / tokens


def check_neuron(db, build, number, seen, tokens, column, texts):
    values = [value for value, *_ in seen]
    count, maximum, statistic = db.execute(
        "SELECT count, maximum, statistic FROM feature WHERE build = ? AND number = ?",
        (build, number)).fetchone()
    expect((count, maximum), (len(values), max(values)), "count and maximum")
    e, first, counts = bins_of(values)
    n, low, high = struct.unpack_from("<Iff", statistic)
    expect((n, low, high), (len(counts), first * 2 ** e, (first + len(counts)) * 2 ** e), "bins")
    expect(list(struct.unpack_from(f"<{n}I", statistic, 12)), counts, "counts")
    highest = sorted(seen, key=lambda s: (-s[0], s[1:]))[:20]
    lowest = sorted(seen)[:20]
    bands = list(intervals_of(e, first, counts, tokens))
    by_place, parts = {s[1:]: s[0] for s in seen}, collections.Counter()
    for part, place, text, corpus, document, position, value, low, high, share, blob in db.execute(
            "SELECT part, place, text, corpus, document, position, value, bin_min, bin_max,"
            " bin_contains, along FROM example WHERE build = ? AND number = ? ORDER BY part, place",
            (build, number)):
        expect(place, parts[part], "place")
        parts[part] += 1
        expect(by_place[(corpus, document, position)], value, "value of an example")
        row = column(corpus, document)
        begin = max(0, position - 15)
        window = range(begin, min(begin + AROUND, len(row)))
        expect(recount.features(blob), {p: row[p] for p in window if row[p]}, "values around")
        if part == 0:
            expect((value, corpus, document, position), highest[place], "one of the highest")
        elif part == 6:
            expect((value, corpus, document, position), lowest[place], "one of the lowest")
            expect(low, lowest[0][0], "the minimum")
        else:
            expect((low, high, share), bands[5 - part], "interval")
            expect(low <= value < high, True, "value within its interval")
        expect(texts[(corpus, document)], text, "text")
    expect((parts[0], parts[6]), (min(20, len(seen)), min(20, len(seen))), "ends")
    for k, (_, _, share) in enumerate(bands):
        expect(parts[5 - k], min(5, round(share * tokens)), f"samples of interval {k}")


def check_source(db, name, texts, answers):
    build, documents, tokens, counts, maxima = db.execute(
        "SELECT build, documents, tokens, counts, maxima FROM dashboard d JOIN source s"
        " ON s.id = d.source WHERE s.name = ?", (name,)).fetchone()
    counted = sum(id not in SPECIAL for *_, ids in texts for id in ids)
    expect((documents, tokens), (len(texts), counted), "documents and tokens")
    width = answers[0][SOURCES[name]][0][1]
    expect((len(counts), len(maxima)), (4 * width, 4 * width), "bytes of counts and maxima")
    where = {(corpus, document): i for i, (corpus, document, _, _) in enumerate(texts)}
    text_at = {(corpus, document): text for corpus, document, text, _ in texts}
    for number in random.Random(name).sample(range(width), 24):
        def column(corpus, document):
            (length, _), data = answers[where[(corpus, document)]][SOURCES[name]]
            return [data[t * width + number] for t in range(length)]
        seen = [(value, corpus, document, position)
                for corpus, document, _, ids in texts
                for position, value in enumerate(column(corpus, document))
                if ids[position] not in SPECIAL and value != 0]
        check_neuron(db, build, number, seen, tokens, column, text_at)
        expect(struct.unpack_from("<I", counts, 4 * number)[0], len(seen), "counts")
        expect(struct.unpack_from("<f", maxima, 4 * number)[0], max(seen)[0], "maxima")


def check_page(server, name):
    """The feature's page over HTTP says what the database has."""
    page = server.get(f"/api/feature/gemma-2-demo/{name}/17").json()
    groups = collections.defaultdict(list)
    for row in page["activations"]:
        groups[row["group"]].append(row["values"][row["qualifyingTokenIndex"]])
        expect(len(row["tokens"]), len(row["values"]), "tokens and values")
        expect(len(row["tokens"]) <= AROUND and "<bos>" not in row["tokens"], True, "tokens around")
    expect(groups["top"], sorted(groups["top"], reverse=True), "the highest")
    expect(groups["lowest"], sorted(groups["lowest"], reverse=True), "the lowest come last")
    expect((groups["top"][0], groups["lowest"][-1]), (page["maxActApprox"], page["minActApprox"]))
    expect((len(groups["top"]), len(groups["lowest"]), page["minActApprox"] < 0), (20, 20, True))
    expect((len(page["pos_str"]), sum(page["freq_hist_data_bar_heights"])), (10, page["count"]))


# --- the same however it is run -------------------------------------------------------------------

def everything(path):
    """What the neurons' sources have in the database, row ids left out."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        found = {}
        for name in SOURCES:
            source, = db.execute("SELECT id FROM source WHERE name = ?", (name,)).fetchone()
            build, = db.execute("SELECT build FROM dashboard WHERE source = ?", (source,)).fetchone()
            for table, key, columns in [
                    ("neuron", source, "number, statistic"), ("indexed", source, "documents, tokens"),
                    ("feature_logits", source, "number, logits"),
                    ("feature", build, "number, count, maximum, statistic, label"),
                    ("example", build, "number, part, place, document, position, value, bin_min,"
                                       " bin_max, bin_contains, along")]:
                owner = "build" if table in ("feature", "example") else "source"
                found[name, table] = db.execute(
                    f"SELECT {columns} FROM {table} WHERE {owner} = ? ORDER BY 1, 2, 3"
                    if columns.count(",") > 1 else
                    f"SELECT {columns} FROM {table} WHERE {owner} = ? ORDER BY 1", (key,)).fetchall()
        return found


def killed(path, took):
    """Kills a run of `took` seconds at six moments, then lets it end; returns the commits it had."""
    moments, commits = random.Random(7), set()
    for attempt in range(40):
        process = subprocess.Popen([DARKMATTER, "index", "--db", path, *with_sources(), "--limit-tokens",
                                    "30000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=ENVIRONMENT)
        try:
            process.wait(took * (0.3 + 0.6 * moments.random()) if attempt < 6 else SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with contextlib.closing(sqlite3.connect(path)) as db:
            if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'indexed'").fetchone()[0]:
                commits.add(db.execute("SELECT coalesce(max(documents), 0) FROM indexed").fetchone()[0])
        if process.returncode == 0:
            return commits
    raise AssertionError("it never came to an end")


def main():
    folder = scratch()
    plain = os.path.join(folder, "plain.db")
    with check("index takes neurons by their names"):
        index(plain, *with_sources(), *FLAGS)
    server = Server(db=plain)
    with contextlib.closing(sqlite3.connect(plain)) as db:
        with check("and keeps nothing of them token by token"):
            expect(db.execute("SELECT count(*) FROM activation").fetchone()[0], 0)
        texts = texts_of(db)
        answers = traced(server, texts)
        for name in SOURCES:
            with check(f"what it says of {name} is what the traced values say"):
                check_source(db, name, texts, answers)
    for name in SOURCES:
        with check(f"the page of a neuron of {name} shows both ends"):
            check_page(server, name)
    server.stop()
    whole = everything(plain)
    with check("other threads, and SAEs beside them, change no byte"):
        other = os.path.join(folder, "other.db")
        index(other, *with_sources(), "--source", "2-gemmascope-res-2k", "--threads", "1", *FLAGS)
        expect(everything(other) == whole, True, "the same")
    with check("nor does it to have come in two parts, behind an SAE"):
        parts = os.path.join(folder, "parts.db")
        index(parts, "--source", "2-gemmascope-res-2k", *FLAGS)
        index(parts, *with_sources(), "--limit-tokens", "2500")
        index(parts, *with_sources(), *FLAGS)
        expect(everything(parts) == whole, True, "the same")
    with check("an emptied table of marks begins anew"):
        with contextlib.closing(sqlite3.connect(parts)) as db, db:
            db.execute("DELETE FROM indexed")
        index(parts, *with_sources(), *FLAGS)
        expect(everything(parts) == whole, True, "the same")
    long = os.path.join(folder, "long.db")
    began = time.monotonic()
    index(long, *with_sources(), "--limit-tokens", "30000")
    took = time.monotonic() - began
    with check("after kills at six moments it goes on and comes to the same"):
        often = os.path.join(folder, "killed.db")
        commits = killed(often, took)
        expect(everything(often) == everything(long), True, "the same")
        expect(len(commits - {0}) > 1, True, f"commits on the way ({sorted(commits)})")


main()
finish()

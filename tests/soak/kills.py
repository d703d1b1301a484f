"""SIGKILL at KILLS random moments while one database is served and indexed: four clients ask, an
index job runs, and after a random while the server is gone. Then the database is whole
(integrity_check, foreign_key_check), every answer that anybody had is found again bit for bit from
the database, explanations that were acknowledged are there, and the index goes on where it was.

    tests/soak/kills.py [--kills 200]

At the end one unbroken run, and the index must come to the dashboards of a database that was never
killed. The last line is "N passed, N failed"."""

import argparse
import contextlib
import hashlib
import os
import random
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from program import *  # noqa: E402

WORDS = "the light upon a water of all people that come in every day with king and ship".split()
SOURCES = ["2-gemmascope-att-2k", "2-gemmascope-mlp-2k", "2-gemmascope-res-2k", "3-gemmascope-res-2k"]
TOKENS = 300  # more to be indexed in each life, so that the job never runs out of work


class Clients:
    """Threads that ask until the server is gone, and remember what they were answered."""

    def __init__(self, server, turn):
        self.server, self.turn, self.done = server, turn, False
        self.answers, self.explanations = [], []
        self.threads = [threading.Thread(target=self.ask, args=(i,), daemon=True) for i in range(4)]
        for thread in self.threads:
            thread.start()

    def ask(self, i):
        chance = random.Random(1000 * self.turn + i)
        number = 0
        while not self.done:
            number += 1
            name = f"kill-{self.turn}-{i}-{number}"
            body = {"prompt": " ".join(chance.choice(WORDS) for _ in range(chance.randrange(2, 40))),
                    "source": chance.choice(SOURCES), "index": str(chance.randrange(2048))}
            try:
                reply = self.server.post("/v1/activation/single", body)
                if reply.status == 200:
                    self.answers.append((body, hashlib.sha256(reply.body).digest()))
                if number % 5 == 0 and self.server.post("/api/explanation/new", {
                        "modelId": "gemma-2-demo", "source": SOURCES[0], "index": "1", "id": name,
                        "description": name}).status == 200:
                    self.explanations.append(name)
            except Exception:  # the server is gone
                time.sleep(0.01)

    def stop(self):
        self.done = True
        for thread in self.threads:
            thread.join(SECONDS)


def killed(db, turn, chance):
    """One life of the server: what was answered in it."""
    server = Server(db=db)
    clients = Clients(server, turn)
    with contextlib.suppress(Exception):
        server.post("/api/index", {"corpus": "demo", "limit_tokens": TOKENS * (turn + 1)})
    if chance.random() < 0.8:  # else while nothing was answered yet
        with contextlib.suppress(AssertionError):
            until(lambda: clients.answers, "the first answer", 10)
    time.sleep(chance.uniform(0.0, 1.0))
    server.kill()
    clients.stop()
    return clients.answers, clients.explanations


def check_whole(db):
    with contextlib.closing(sqlite3.connect(db)) as connection:
        expect(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        expect(connection.execute("PRAGMA foreign_key_check").fetchall(), [])


def behind_the_mark(db):
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return sum(row[0] for row in connection.execute("SELECT documents FROM indexed"))


def check_answers(server, answers, explanations):
    for body, digest in answers:
        reply = server.post("/v1/activation/single", body)
        expect((reply.status, reply.cache), (200, "hit"), body)
        expect(hashlib.sha256(reply.body).digest() == digest, True, f"the same bytes for {body}")
    with contextlib.closing(sqlite3.connect(server.db)) as connection:
        kept = {row[0] for row in connection.execute("SELECT id FROM explanation")} \
            if explanations else set()
        expect([name for name in explanations if name not in kept], [], "explanations lost")


def dashboards(db):
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return [connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
                for table, columns in (("indexed", "source, corpus, documents, tokens"),
                                       ("dashboard", "source, documents, tokens, counts, maxima"),
                                       ("dashboard d JOIN feature f USING (build)",
                                        "d.source, number, count, maximum, statistic, label"),
                                       ("feature_logits", "source, number, logits"))]


def finished_index(server, limit):
    reply = server.post("/api/index", {"corpus": "demo", "limit_tokens": limit})
    expect(reply.status, 200, reply.body)

    def state():
        return server.get("/api/index").json()["jobs"][0]["state"]
    until(lambda: state() != "running", "the index job", 600)
    expect(state(), "done")
    expect(server.stop(), 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    chance = random.Random(7)
    db = os.path.join(scratch(), "lab.db")
    answers, explanations, marks, begun = [], [], [0], time.monotonic()
    wrong = []
    for turn in range(options.kills):
        new, said = killed(db, turn, chance)
        answers, explanations = answers + new, explanations + said
        try:
            check_whole(db)
            marks.append(behind_the_mark(db))
            expect(marks[-1] >= marks[-2], True, f"the index's mark went back: {marks[-2:]}")
            if turn % 10 == 9 or turn == options.kills - 1:
                server = Server(db=db)
                check_answers(server, answers[-400:], explanations)
                expect(server.stop(), 0)
                print(f"  {turn + 1} kills, {len(answers)} answers, {len(explanations)} "
                      f"explanations, {marks[-1]} documents indexed, "
                      f"{time.monotonic() - begun:.0f} s", flush=True)
        except Exception as problem:
            wrong.append(f"after kill {turn + 1}: {problem}")
    with check(f"after each of {options.kills} SIGKILLs the database is whole and nothing answered "
               f"is lost ({len(answers)} answers, {len(explanations)} explanations)"):
        expect(wrong[:3], [], f"{len(wrong)} times not")
        expect(len(answers) > options.kills, True, "answers")
    with check("every answer of all those lives is found again bit for bit"):
        server = Server(db=db)
        check_answers(server, answers, explanations)
    with check("the index goes on to its end"):
        finished_index(server, TOKENS * options.kills)
    with check("and comes to the dashboards of a database that was never killed"):
        other = Server(db=os.path.join(scratch(), "other.db"))
        finished_index(other, TOKENS * options.kills)
        found, expected = dashboards(db), dashboards(other.db)
        for part, whole in zip(found, expected):
            expect(len(part), len(whole), "rows")
        names = []
        for path in (db, other.db):
            with contextlib.closing(sqlite3.connect(path)) as connection:
                names.append(dict(connection.execute("SELECT id, name FROM source")))
        for part, whole in zip(found, expected):
            expect(sorted((names[0][row[0]], *row[1:]) for row in part) ==
                   sorted((names[1][row[0]], *row[1:]) for row in whole), True, "the same")


main()
finish()

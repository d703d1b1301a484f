"""What was answered is answered again with the same bytes, also after kill -9 at any moment."""

import os
import random
import signal
import sqlite3
import threading
import time

from program import *

ROUNDS = 20
SOURCE = "2-gemmascope-res-2k"
WORDS = """the of and to in that he it his was with as for is not her had be at on by she you from all
but they him said were so there have which one my me when no what this who would an out do up their
if them we then into now little upon about some could time will good see like know man old""".split()


def single(text):
    return {"prompt": text, "source": SOURCE, "index": "193"}


def everything(text):
    return {"prompts": [text], "source": SOURCE}


def at_rest():
    server = Server()
    requests = [("/v1/activation/single", single("And it came to pass in those days")),
                ("/v1/activation/source", everything("there was light upon the earth")),
                ("/v1/activation/topk-by-token",
                 {"prompt": "the captain of the ship", "source": SOURCE, "top_k": 5,
                  "ignore_bos": True})]
    first = [server.post(*request) for request in requests]
    with check("the first answer is a miss, the second a hit with the same bytes"):
        for request, reply in zip(requests, first):
            expect((reply.status, reply.cache), (200, "miss"))
            again = server.post(*request)
            expect((again.status, again.cache), (200, "hit"))
            expect(again.body, reply.body)
    with check("the metrics count three misses and three hits"):
        expect(server.metric("darkmatter_cache_misses_total"), 3)
        expect(server.metric("darkmatter_cache_hits_total"), 3)
    with check("a hit needs no pass through the model"):
        computed = server.metric("darkmatter_tokens_computed_total")
        server.post(*requests[0])
        expect(server.metric("darkmatter_tokens_computed_total"), computed)
    last = server.post("/v1/activation/source", everything("killed right behind the answer"))
    server.kill()
    server = Server(db=server.db)
    with check("after kill -9 right behind an answer it is a hit with the same bytes"):
        again = server.post("/v1/activation/source", everything("killed right behind the answer"))
        expect(last.cache, "miss")
        expect(again.cache, "hit")
        expect(again.body, last.body)
    with check("and so is everything answered before"):
        for request, reply in zip(requests, first):
            again = server.post(*request)
            expect(again.cache, "hit")
            expect(again.body, reply.body)
    with check("another process can read the table `activation` while the server runs"):
        reader = sqlite3.connect(f"file:{server.db}?mode=ro", uri=True)
        rows, = reader.execute("SELECT count(*) FROM activation").fetchone()
        reader.close()
        expect(rows, server.metric("darkmatter_cached_rows"))
    server.stop()


class Load:
    """Four clients that ask for one new prompt after the other, and keep what they were told."""

    def __init__(self, server, random_words, number):
        self.server, self.words, self.number = server, random_words, number
        self.answered, self.lock, self.over = {}, threading.Lock(), False
        self.wrong = []
        self.threads = [threading.Thread(target=self.ask, args=(i,), daemon=True)
                        for i in range(4)]
        for thread in self.threads:
            thread.start()

    def ask(self, client):
        count = 0
        while not self.over:
            with self.lock:
                words = self.words.choices(WORDS, k=self.words.randint(1, 40))
            text = f"{self.number} {client} {count} " + " ".join(words)
            count += 1
            try:
                reply = self.server.post("/v1/activation/source", everything(text))
            except Exception:
                return  # killed under way: nothing was promised
            with self.lock:
                if reply.status == 200:
                    self.answered[text] = reply.body
                else:
                    self.wrong.append((reply.status, reply.body))

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join(SECONDS)


def at_any_moment():
    seed = random.randrange(1 << 32)
    moments, words = random.Random(seed), random.Random(seed + 1)
    answered, wrong = {}, []
    server = Server()
    db = server.db
    for number in range(ROUNDS):
        if number:
            server = Server(db=db)
        load = Load(server, words, number)
        time.sleep(moments.uniform(0.02, 0.4))
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(SECONDS)
        load.end()
        answered.update(load.answered)
        wrong += load.wrong
    print(f"  seed {seed}: {len(answered)} prompts answered in {ROUNDS} rounds of kill -9")
    with check(f"{ROUNDS} servers under load were killed, and all their answers were 200"):
        expect(wrong, [])
        if len(answered) < ROUNDS:
            raise AssertionError(f"only {len(answered)} answers")
    with check("every prompt that was answered is a hit with the same bytes"):
        server = Server(db=db)
        for text, body in answered.items():
            again = server.post("/v1/activation/source", everything(text))
            expect(again.cache, "hit", text)
            expect(again.body, body, text)
    with check("the last server closes the database"):
        expect(server.stop(), 0)
        expect(os.path.exists(db + "-wal"), False, "-wal")
    with check("SQLite finds the file sound, every row's text and source there"):
        reader = sqlite3.connect(db)
        expect(reader.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        expect(reader.execute("PRAGMA foreign_key_check").fetchall(), [])
        reader.close()


at_rest()
at_any_moment()
finish()

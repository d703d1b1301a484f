"""The machine's clock is set forward and back by hours while the server answers, streams, indexes and
has requests in its queue: nothing waits for it, nothing is cut off by it, and what is written down has
the time that it is. tests/tools/pretend.c sets the clock."""

import contextlib
import datetime
import http.client
import json
import os
import random
import sqlite3
import threading
import time

from program import *

RES = "2-gemmascope-res-2k"
HOUR = 3600
JUMPS = (5 * HOUR, -9 * HOUR, 0, 100 * 24 * HOUR, -30, HOUR // 2, -400 * 24 * HOUR, 0)
WORDS = "the light upon a water of all people that come in every day with king and ship".split()


def words(n):
    return " ".join(random.choice(WORDS) for _ in range(n))


def set_clock(later):
    with open(CLOCK + ".new", "w", encoding="ascii") as file:
        file.write(str(later))
    os.replace(CLOCK + ".new", CLOCK)


def told(text):
    """Seconds since 1970 of "2026-11-25T11:02:03.123Z"."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ask_until_over(i):
    statuses = []
    while not over.is_set():
        if i % 3 == 0:
            reply = server.post("/v1/activation/source", {"prompts": [words(60) for _ in range(30)],
                                                          "source": RES})
        else:
            reply = server.post("/v1/activation/single", {"prompt": words(10), "source": RES, "index": "1"})
        statuses.append(reply.status)
    return statuses


def stream(_):
    reply = server.post("/v1/steer/completion", {
        "prompt": "In the beginning", "types": ["DEFAULT"], "stream": True, "n_completion_tokens": 200,
        "temperature": 0.5, "freq_penalty": 0, "seed": 1, "strength_multiplier": 1})
    return reply.status, reply.body


def newest_is_done():
    return server.get("/api/index").json()["jobs"][0]["state"] == "done"


random.seed(6)
CLOCK = os.path.join(scratch(), "clock")
set_clock(0)
server = Server("--log", "json", environment=pretend(clock=CLOCK))
quiet_streams = stream(0)
over = threading.Event()
idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
idle.request("GET", "/health")
idle.getresponse().read()
reply = server.post("/api/index", {"texts": [words(120) for _ in range(12)], "sources": [RES]})
begun = time.monotonic()
threads, results = in_threads(ask_until_over, list(range(6)))
streaming, streamed = in_threads(stream, [0, 1])
waited = []
for _ in range(3):
    for later in JUMPS:
        set_clock(later)
        before = time.monotonic()
        server.get("/health")
        waited.append(time.monotonic() - before)
        time.sleep(0.05)

with check("an idle connection was not cut off by a clock that went on by months"):
    idle.request("GET", "/health")
    expect(idle.getresponse().status, 200)
    idle.close()
with check("an index goes on to its end while the clock jumps"):
    expect(reply.status, 200, reply.body)
    until(lambda: newest_is_done() or set_clock(random.choice(JUMPS)), "the index", 200)
set_clock(0)
over.set()
for thread in (*threads, *streaming):
    thread.join(SECONDS)
took = time.monotonic() - begun

with check("every request in the queue meanwhile was answered"):
    for statuses in results:
        expect(set(statuses), {200})
    expect(max(waited) < 30, True, f"/health took {max(waited)} s")
with check("texts that were streaming came whole"):
    expect([status for status, _ in streamed], [200, 200])
    expect(streamed[0][1] == quiet_streams[1], True)
with check("no request's duration has a jump in it"):
    lines = [json.loads(line) for line in server.stderr().splitlines()]
    durations = [line[name] for line in lines for name in ("ms", "queued_ms", "first_ms") if name in line]
    expect(len(durations) > 100, True)
    expect(0 <= min(durations) and max(durations) <= 1000 * (took + 5), True,
           f"{min(durations)} to {max(durations)} ms in {took:.1f} s")
    name = 'darkmatter_http_request_duration_seconds_sum{route="/v1/activation/single"}'
    expect(0 < server.metric(name) < 6 * (took + 5), True)
with check("what is written down has the time that it is then"):
    for later in (7 * HOUR, -2 * HOUR):
        set_clock(later)
        expect(server.post("/api/index", {"texts": [words(20)], "sources": [RES]}).status, 200)
        until(newest_is_done, "a small index")
        with contextlib.closing(sqlite3.connect(f"file:{server.db}?mode=ro", uri=True)) as db:
            for text in db.execute("SELECT started_at, changed_at FROM job ORDER BY id DESC").fetchone():
                expect_close(told(text), time.time() + later, 60, text)
        last = [line for line in server.stderr().splitlines() if '"event":"request"' in line][-1]
        expect_close(told(json.loads(last)["time"]), time.time() + later, 60, "the log's time")
with check("and it stops at once"):
    set_clock(-50 * HOUR)
    before = time.monotonic()
    expect(server.stop(), 0)
    expect(time.monotonic() - before < 30, True)
finish()

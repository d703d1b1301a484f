"""Load: CONNECTIONS open connections, of which WORKERS ask at any moment, beside an index job that
never ends, for SECONDS. Half of the workers flood in the name of one client (127.0.0.2) with large
batches, the others are clients of their own (127.0.0.3 and up) that ask for small things; the rest of
the connections are idle, slow to read, slow to write, half open or rude.

    tests/soak/load.py [--seconds 600] [--connections 1000] [--workers 64]

Checked: the server lives; its resident memory stays flat within 5 % after the warm-up (medians: large
replies to slow readers are peaks), bounded caches (replies, prefixes of texts) left out, which fill for
longer than that; small requests get the status they must, never 503 while the flood does, and the slowest 1 % within P99_S; SIGTERM
under load drains. The last line is "N passed, N failed"; the figures stand above it."""

import argparse
import asyncio
import collections
import json
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from program import Server, check, expect, finish, scratch  # noqa: E402

P99_S = 10.0  # of small requests, on two cores of an ordinary machine
WORDS = "the light upon a water of all people that come in every day with king and ship".split()
SOURCES = ["2-gemmascope-att-2k", "2-gemmascope-mlp-2k", "2-gemmascope-res-2k", "3-gemmascope-res-2k"]


def words(n):
    return " ".join(random.choice(WORDS) for _ in range(n))


def post(path, body, status=200):
    return "POST", path, json.dumps(body).encode(), status


# --- what small clients ask ----------------------------------------------------------------------

def single(n=12):
    return post("/v1/activation/single", {"prompt": words(n), "source": random.choice(SOURCES),
                                          "index": str(random.randrange(2048))})


SMALL = {
    "single": (6, single),
    "single again": (3, lambda: post("/v1/activation/single", {
        "prompt": "In the beginning", "source": SOURCES[2], "index": "140"})),
    "topk": (2, lambda: post("/v1/activation/topk-by-token", {
        "prompt": words(8), "source": SOURCES[2], "top_k": 5, "ignore_bos": True})),
    "trace": (2, lambda: post("/v1/trace", {"prompt": words(20), "read": ["resid_post.2", "loss"]})),
    "steer": (1, lambda: post("/v1/steer/completion", {
        "prompt": words(5), "types": ["DEFAULT"], "n_completion_tokens": 6, "temperature": 0.5,
        "freq_penalty": 0, "seed": 1, "strength_multiplier": 1})),
    "tokenize": (3, lambda: post("/v1/tokenize", {"text": words(30)})),
    "feature": (3, lambda: ("GET", f"/api/feature/gemma-2-demo/{random.choice(SOURCES)}/"
                            f"{random.randrange(2048)}", b"", 200)),
    "page": (2, lambda: ("GET", random.choice(["/", "/app.js", "/style.css"]), b"", 200)),
    "health": (2, lambda: ("GET", "/health", b"", 200)),
    "metrics": (1, lambda: ("GET", "/metrics", b"", 200)),
    "head": (1, lambda: ("HEAD", "/health", b"", 200)),
    "options": (1, lambda: ("OPTIONS", "/v1/trace", b"", 204)),
    "unknown method": (1, lambda: ("BREW", "/health", b"", 405)),
    "unknown path": (1, lambda: ("GET", "/nothing/here", b"", 404)),
    "wrong body": (1, lambda: ("POST", "/v1/trace", b'{"prompt": 5', 400)),
    "wrong field": (1, lambda: post("/v1/activation/single", {"prompt": 5, "source": "x",
                                                              "index": "1"}, 422)),
}
NAMES = [name for name, (weight, _) in SMALL.items() for _ in range(weight)]


def flood():
    return post("/v1/activation/source", {"prompts": [words(150) for _ in range(24)],
                                          "source": random.choice(SOURCES)})


# --- one connection ------------------------------------------------------------------------------

class Client:
    def __init__(self, port, address):
        self.port, self.address, self.stream = port, address, None

    async def open(self):
        self.stream = await asyncio.open_connection("127.0.0.1", self.port,
                                                    local_addr=(self.address, 0))

    def close(self):
        if self.stream:
            self.stream[1].close()
            self.stream = None

    def head(self, method, path, length):
        return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n"
                f"Content-Length: {length}\r\n\r\n").encode()

    async def reply(self, method="GET"):
        reader = self.stream[0]
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip()
                   for line in head[1:] if ":" in line}
        if method != "HEAD" and status != 204:
            await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        return status, headers

    async def ask(self, method, path, body):
        if not self.stream:
            await self.open()
        self.stream[1].write(self.head(method, path, len(body)) + body)
        await self.stream[1].drain()
        return await self.reply(method)


class Load:
    def __init__(self, server):
        self.server, self.port = server, server.port
        self.stop = False
        self.took = collections.defaultdict(list)
        self.statuses = collections.defaultdict(collections.Counter)
        self.wrong, self.broken = [], collections.Counter()
        self.no_retry_after, self.index_jobs, self.caches = 0, 0, 0.0

    async def small(self, i):
        client = Client(self.port, f"127.0.0.{3 + i % 200}")
        while not self.stop:
            name = random.choice(NAMES)
            method, path, body, status = SMALL[name][1]()
            begun = time.monotonic()
            try:
                found, _ = await client.ask(method, path, body)
                self.took[name].append(time.monotonic() - begun)
                self.statuses["small"][found] += 1
                if found != status:
                    self.wrong.append(f"{name}: expected {status}, found {found}")
            except (OSError, asyncio.IncompleteReadError) as problem:
                if not self.stop:
                    self.broken[f"{name}: {problem!r}"] += 1
                client.close()
            await asyncio.sleep(random.uniform(0, 0.05))

    async def flooding(self, _):
        client = Client(self.port, "127.0.0.2")
        while not self.stop:
            begun = time.monotonic()
            try:
                found, headers = await client.ask(*flood()[:3])
                self.statuses["flood"][found] += 1
                if found == 503:
                    self.no_retry_after += "retry-after" not in headers
                    await asyncio.sleep(1)
                else:
                    self.took["flood"].append(time.monotonic() - begun)
            except (OSError, asyncio.IncompleteReadError) as problem:
                if not self.stop:
                    self.broken[f"flood: {problem!r}"] += 1
                client.close()

    async def odd(self, i):
        """Idle mostly; every tenth is rude in one of five ways."""
        client = Client(self.port, f"127.0.0.{210 + i % 40}")
        kind = i % 10 and "idle" or ("slow reader", "slow writer", "half open", "leaves",
                                     "pipelines")[i // 10 % 5]
        while not self.stop:
            try:
                await getattr(self, kind.replace(" ", "_"))(client)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                client.close()
                await asyncio.sleep(1)

    async def nap(self, seconds):
        end = time.monotonic() + seconds
        while not self.stop and time.monotonic() < end:
            await asyncio.sleep(0.5)

    async def idle(self, client):
        await client.ask("GET", "/health", b"")
        await self.nap(random.uniform(20, 45))

    async def slow_reader(self, client):
        await client.open()
        body = json.dumps({"prompt": words(100), "read": ["resid_post.*"]}).encode()
        client.stream[1].write(client.head("POST", "/v1/trace", len(body)) + body)
        while not self.stop and await client.stream[0].read(2048):
            await asyncio.sleep(0.2)

    async def slow_writer(self, client):
        await client.open()
        body = single()[2]
        client.stream[1].write(client.head("POST", "/v1/activation/single", len(body)))
        for byte in body:
            client.stream[1].write(bytes([byte]))
            await asyncio.sleep(0.3)
        await client.reply()
        client.close()

    async def half_open(self, client):
        await client.open()
        client.stream[1].write(b"GET /health HTTP/1.1\r\nHost: local")
        await client.stream[0].read()  # until the server closes it
        client.close()

    async def leaves(self, client):
        await client.open()
        body = single(100)[2]
        client.stream[1].write(client.head("POST", "/v1/activation/single", len(body)) + body)
        await asyncio.sleep(random.uniform(0, 0.2))
        client.stream[1].transport.abort()
        client.stream = None
        await asyncio.sleep(1)

    async def pipelines(self, client):
        await client.open()
        client.stream[1].write(client.head("GET", "/health", 0) * 8)
        for _ in range(8):
            await client.reply()
        client.close()
        await asyncio.sleep(1)

    async def index(self):
        """An index job over texts that were never seen, one after the other."""
        client = Client(self.port, "127.0.0.1")
        while not self.stop:
            try:
                status, _ = await client.ask(*post("/api/index", {
                    "texts": [words(120) for _ in range(60)], "sources": [SOURCES[2]]})[:3])
                self.index_jobs += status == 200
            except (OSError, asyncio.IncompleteReadError):
                client.close()
            await asyncio.sleep(2)

    async def watch(self):
        """MB in the caches, by /metrics."""
        client = Client(self.port, "127.0.0.1")
        while not self.stop:
            try:
                if not client.stream:
                    await client.open()
                client.stream[1].write(client.head("GET", "/metrics", 0).replace(b"gzip", b"identity"))
                head = await client.stream[0].readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                body = (await client.stream[0].readexactly(length)).decode()
                self.caches = sum(float(line.split()[1]) for line in body.splitlines() if line.startswith(
                    ("darkmatter_replies_bytes ", "darkmatter_prefix_bytes "))) / 2 ** 20
            except (OSError, asyncio.IncompleteReadError):
                client.close()
            await asyncio.sleep(2)

    def memory(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}

    async def run(self, seconds, connections, workers):
        tasks = [asyncio.create_task(self.index()), asyncio.create_task(self.watch())]
        tasks += [asyncio.create_task(self.flooding(i)) for i in range(workers // 2)]
        tasks += [asyncio.create_task(self.small(i)) for i in range(workers - workers // 2)]
        for i in range(connections - workers - 2):
            tasks.append(asyncio.create_task(self.odd(i)))
            if i % 50 == 0:
                await asyncio.sleep(0.05)
        begun, samples = time.monotonic(), []
        while time.monotonic() - begun < seconds and self.server.process.poll() is None:
            await asyncio.sleep(min(5, seconds / 20))
            samples.append((time.monotonic() - begun, *self.memory().values(), self.sockets(),
                            self.caches))
            if len(samples) % 12 == 0:
                print("  %4.0f s: %.1f MB resident, %.1f MB of it anonymous, %d connections, "
                      "%.1f MB in caches"
                      % samples[-1], flush=True)
        return tasks, samples

    def sockets(self):
        fds = f"/proc/{self.server.process.pid}/fd"
        count = 0
        for fd in os.listdir(fds):
            try:
                count += os.readlink(os.path.join(fds, fd)).startswith("socket:")
            except OSError:
                pass
        return count


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def report(load, samples):
    small = [t for name, values in load.took.items() if name != "flood" for t in values]
    print(f"  {'request':16} {'answered':>8} {'median':>9} {'99 %':>9} {'slowest':>9}")
    for name in [*SMALL, "flood"]:
        t = load.took[name]
        if t:
            print(f"  {name:16} {len(t):8} {quantile(t, .5):8.3f}s {quantile(t, .99):8.3f}s "
                  f"{max(t):8.3f}s")
    print(f"  all small: {len(small)}, median {quantile(small, .5):.3f} s, "
          f"99 % {quantile(small, .99):.3f} s, slowest {max(small):.3f} s")
    for who, counts in load.statuses.items():
        print(f"  {who}: " + ", ".join(f"{n} x {status}" for status, n in sorted(counts.items())))
    print(f"  {load.index_jobs} index jobs; at most {max(s[3] for s in samples)} sockets")
    return small


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--port", default="0")
    options = parser.parse_args()
    random.seed(6)
    server = Server("--port", options.port, db=os.path.join(scratch(), "load.db"))
    load = Load(server)
    tasks, samples = await load.run(options.seconds, options.connections, options.workers)
    alive = server.process.poll() is None
    unanswered = sum(1 for task in tasks if not task.done())
    load.stop = True
    small = report(load, samples)
    with check("the server lived through it"):
        expect(alive, True)
    with check(f"{options.connections} connections were open at once"):
        expect(max(s[3] for s in samples) >= options.connections, True, samples[-1])
    for column, name in ((1, "resident"), (2, "anonymous")):
        warm = [s[column] - s[4] for s in samples if s[0] > options.seconds * 0.3]
        begin, end = warm[:len(warm) // 4 or 1], warm[-(len(warm) // 4 or 1):]
        before, after = statistics.median(begin), statistics.median(end)
        growth = after / before - 1
        print(f"  {name} memory without caches: {before:.1f} MB after the warm-up, "
              f"{after:.1f} MB at the end, {100 * growth:+.1f} %; with them at most "
              f"{max(s[column] for s in samples):.1f} MB")
        if column == 1:
            with check("its resident memory stayed flat within 5 %"):
                expect(growth <= 0.05, True, f"growth of {100 * growth:.1f} %")
    with check("small requests got the status that they must, and none was cut off"):
        expect((load.wrong[:5], dict(load.broken)), ([], {}))
    with check(f"the slowest 1 % of them took at most {P99_S:.0f} s"):
        expect(quantile(small, .99) <= P99_S, True, f"{quantile(small, .99):.2f} s")
    with check("the flood met 503 with Retry-After, and was answered as well"):
        expect(load.statuses["flood"][503] > 0, True, load.statuses["flood"])
        expect(load.statuses["flood"][200] > 0, True, load.statuses["flood"])
        expect(load.no_retry_after, 0)
    with check("SIGTERM with all of that open ends it with exit code 0"):
        expect(unanswered > 0, True)
        expect(server.stop(), 0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


asyncio.run(main())
finish()

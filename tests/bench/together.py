#!/usr/bin/env python3
"""Eight requests at one moment, and one small request beside large ones: what a shared pass is worth.

    tests/bench/together.py [--rounds N] [--against PROGRAM] [serve's flags, e.g. --model ... --saes ...]

Each kind is asked for eight times at once, of eight texts of 16 tokens; then one activation/single of
7 tokens is asked for again and again while two dark-matter and two lens requests of 48 tokens are
always under way. With --against, an older build is measured in turn with this one, and both must
give the same bytes."""
import argparse
import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

KINDS = {
    "text": ("/v1/steer/completion", {"types": ["DEFAULT"], "n_completion_tokens": 8}),
    "attribution": ("/v1/attribution", {}),
    "lens": ("/v1/lens/prompt", {"positions": [-1], "stream": False, "top_n": 5}),
    "dark matter": ("/v1/dark-matter", {"source": None, "runs": ["splice"], "top": 0}),
}


class Server:
    def __init__(self, program, flags, folder):
        self.process = subprocess.Popen(
            [program, "serve", "--port", "0", "--no-auto-index", "--db", f"{folder}/{id(self)}.db", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.base = next(found for line in self.process.stdout for found in re.findall(r"http://127[.0-9]+:[0-9]+", line))
        capabilities = json.loads(self.ask("/v1/capabilities"))
        self.source, self.vocabulary = capabilities["sources"][0], capabilities["vocab_size"]

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.base + path, data), timeout=600) as reply:
            return reply.read()

    def tokens(self, text, n):
        return [2] + [(text * 7919 + t * 104729) % (self.vocabulary - 1000) + 500 for t in range(n - 1)]

    def body(self, fields, text, n):
        fields = dict(fields, tokens=self.tokens(text, n))
        return dict(fields, source=self.source) if "source" in fields else fields

    def together(self, kind, first):
        """Seconds until the last of eight is answered, and the answers."""
        path, fields = KINDS[kind]
        replies = [None] * 8

        def call(i):
            replies[i] = self.ask(path, self.body(fields, first + i, 16))
        threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - begun, replies

    def beside(self, first, seconds):
        """How long each small request takes beside large ones."""
        until = time.monotonic() + seconds

        def load(i):
            path, fields = [("/v1/dark-matter", {"source": None}), ("/v1/lens/prompt", {"stream": False})][i % 2]
            while time.monotonic() < until:
                self.ask(path, self.body(fields, first + i, 48))
        threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        waits = []
        while time.monotonic() < until:
            begun = time.monotonic()
            self.ask("/v1/activation/single", self.body({"source": None, "index": 5}, first + 100 + len(waits), 7))
            waits.append(time.monotonic() - begun)
        for thread in threads:
            thread.join()
        return waits


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--against")
    options, flags = parser.parse_known_args()
    programs = {"this": "./darkmatter"}
    if options.against:
        programs["other"] = options.against
    with tempfile.TemporaryDirectory() as folder:
        servers = {name: Server(program, flags, folder) for name, program in programs.items()}
        try:
            measure(servers, options)
        finally:
            for server in servers.values():
                server.process.terminate()
                server.process.wait()


def measure(servers, options):
    for kind in KINDS:
        times = {name: [] for name in servers}
        for r in range(-1, options.rounds):  # the first warms up
            replies = []
            for name in sorted(servers, reverse=r % 2 == 0):
                seconds, answer = servers[name].together(kind, 8 * r + 100)
                times[name] += [seconds] if r >= 0 else []
                replies.append(answer)
            if any(other != replies[0] for other in replies):
                print(f"{kind}: not the same bytes")
        for name, values in times.items():
            print(f"8 x {kind:12} {name:6} {1000 * statistics.median(values):8.0f} ms "
                  f"({1000 * min(values):.0f} to {1000 * max(values):.0f})")
    for name, server in servers.items():
        waits = server.beside(1000, options.seconds)
        print(f"small beside large {name:6} {1000 * statistics.median(waits):8.0f} ms "
              f"(to {1000 * max(waits):.0f}), {len(waits)} asked")


main()

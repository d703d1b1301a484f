"""Runs the real program, for the scripts beside this file: checks that are counted, a server on a
port of its own, requests over real sockets. Needs nothing but Python's standard library."""

import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "demo")
DARKMATTER = os.environ.get("DARKMATTER", os.path.join(ROOT, "darkmatter"))
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "DARKMATTER_SECRET"}
SECONDS = 60  # longer than anything here takes, on a slow machine as well

_counts = {"passed": 0, "failed": 0, "skipped": 0}
_scratch = []
_servers = []


@contextlib.contextmanager
def check(sentence):
    """One check: passes unless its block raises."""
    try:
        yield
    except Exception as problem:  # a check that fails must not end the others
        _counts["failed"] += 1
        print(f"  FAILED  {sentence}")
        text = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
        line = problem.__traceback__
        while line.tb_next and line.tb_next.tb_frame.f_code.co_filename != __file__:
            line = line.tb_next
        print(f"          line {line.tb_lineno}: {text[:2000]}")
    else:
        _counts["passed"] += 1
        print(f"  ok      {sentence}")
    sys.stdout.flush()


def skip(sentence, reason):
    _counts["skipped"] += 1
    print(f"  skipped {sentence} ({reason})")


def expect(found, expected, what="value"):
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def expect_in(part, whole):
    if part not in whole:
        raise AssertionError(f"expected {part!r} in {whole!r}")


def expect_close(found, expected, tolerance, what):
    if not abs(found - expected) <= tolerance:
        raise AssertionError(f"{what}: expected {expected}, found {found}")


@atexit.register
def _clean_up():
    for server in _servers:
        server.kill()
    for folder in _scratch:
        shutil.rmtree(folder, ignore_errors=True)


def finish():
    skipped = f", {_counts['skipped']} skipped" if _counts["skipped"] else ""
    print(f"{_counts['passed']} passed, {_counts['failed']} failed{skipped}")
    sys.exit(1 if _counts["failed"] else 0)


def scratch():
    """A new folder, removed at the end."""
    folder = tempfile.mkdtemp(prefix="darkmatter-cli-")
    _scratch.append(folder)
    return folder


def copy_demo(leave_out=()):
    """A folder with a copy of the demo's model and SAEs, to be spoilt."""
    folder = os.path.join(scratch(), "demo")
    keep_out = shutil.ignore_patterns("recipe", "corpus", "explanations.json", *leave_out)
    shutil.copytree(DEMO, folder, ignore=keep_out)
    return folder


def run(*arguments, stdin="", environment=None, seconds=SECONDS):
    """Runs a command to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([DARKMATTER, *arguments], input=stdin.encode(), capture_output=True,
                          timeout=seconds, env={**ENVIRONMENT, **(environment or {})}, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def pretend(**pretended):
    """The environment in which tests/tools/pretend.c changes what a program sees of the machine."""
    library = os.path.join(scratch(), "pretend.so")
    source = os.path.join(ROOT, "tests", "tools", "pretend.c")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": library, **{f"PRETEND_{name.upper()}": str(value)
                                      for name, value in pretended.items()}}


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.cache = headers.get("x-darkmatter-cache")

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["error"]


class Server:
    """`darkmatter serve` on a port that the system picks; raises if it ends before it listens.
    The demo is not indexed by itself unless asked for."""

    def __init__(self, *flags, db=None, environment=None, auto_index=False):
        folder = scratch()
        self.db = db or os.path.join(folder, "darkmatter.db")
        self._said = os.path.join(folder, "stderr")
        flags = (*flags, *([] if auto_index else ["--no-auto-index"]))
        with open(self._said, "wb") as said:
            self.process = subprocess.Popen(
                [DARKMATTER, "serve", "--port", "0", "--db", self.db, *flags],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
                env={**ENVIRONMENT, **(environment or {})})
        _servers.append(self)
        line = self.process.stdout.readline().decode()
        if not line.startswith("darkmatter serves "):
            raise RuntimeError(f"exit {self.process.wait(SECONDS)}: {self.stderr()}")
        self.line = line.strip()
        self.port = int(line.split(", database ")[0].rsplit(":", 1)[1])

    def stderr(self):
        with open(self._said, encoding="utf-8", errors="replace") as said:
            return said.read()

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body, headers)

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise KeyError(name)

    def stop(self, number=signal.SIGTERM):
        """Sends the signal and waits: the exit code (negative for a signal's)."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def kill(self):
        self.stop(signal.SIGKILL)
        self.process.stdout.close()


def in_threads(function, items):
    """Starts function(item) for each item in a thread of its own: (threads, results), where
    results[i] is what was returned or the exception."""
    results = [None] * len(items)

    def call(i):
        try:
            results[i] = function(items[i])
        except Exception as problem:
            results[i] = problem

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(len(items))]
    for thread in threads:
        thread.start()
    return threads, results


def until(condition, what, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)

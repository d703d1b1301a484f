"""The corpus of malformed requests: tests/fixtures/malformed/requests.tsv has one a line, with the
status that it must get. Each is answered with that status and an {"error"}, none with 500, and the
server goes on as before. Beside it malformed files, each of which is named in one line.

    tests/cli/malformed.py --make    writes the table anew from the routes' examples: every field left
                                     out, of another type, beyond its range; those refused in other
                                     words than the ones before are kept. Read the difference: the
                                     statuses are what the server said."""

import http.client
import json
import os
import struct
import sys

from program import *

TABLE = os.path.join(ROOT, "tests", "fixtures", "malformed", "requests.tsv")

# Wrong in any field, whatever it is.
VALUES = {
    "null": None, "true": True, "number": 7, "negative": -3, "fraction": 0.5, "huge": 1e300,
    "text": "no such thing", "empty": "", "list": [1], "texts": ["a", 5], "object": {"a": 1},
    "nul": "a\0b",
}
# Whole bodies, sent to a route of each kind.
BODIES = [b"", b"{", b"}", b"[]", b"null", b"5", b'"text"', b"{}{}", b"{} x", b"{'a': 1}", b"{a: 1}",
          b'{"prompt"}', b'{"prompt":}', b'{"prompt": tru}', b'{"prompt": 01}', b'{"prompt": +1}',
          b'{"prompt": .5}', b'{"prompt": 1.}', b'{"prompt": 1e}', b'{"prompt": NaN}',
          b'{"prompt": Infinity}', b'{"prompt": "\\x"}', b'{"prompt": "\\u12"}',
          b'{"prompt": "\\ud800"}', b'{"prompt": "a\nb"}', b'{"prompt": "\xff"}',
          b'{"prompt": "\xc0\x80"}', b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\\u0000"}',
          b'{"prompt": "a",}', b'{,"prompt": "a"}', b'{"prompt" "a"}', b'["prompt", "a"]',
          b"\xef\xbb\xbf{}", b"\x00", b"{\x00}", b"<xml/>", b"prompt=a&index=1", b"[" * 300,
          b'{"a":' * 300 + b"1" + b"}" * 300]
BODY_ROUTES = ["/v1/tokenize", "/v1/activation/single", "/v1/trace", "/api/features", "/api/steer",
               "/api/explanation/new"]
TARGETS = [("GET", "/v1/%"), ("GET", "/%zz"), ("GET", "/%00"), ("GET", "/a%00b"), ("GET", "//"),
           ("GET", "/../Makefile"), ("GET", "/%2e%2e/Makefile"), ("GET", "/..%2fMakefile"),
           ("GET", "/....//Makefile"), ("GET", "/static/../../etc/passwd"), ("GET", "/.git/config"),
           ("GET", "/app.js/"), ("GET", "/app.js%20"), ("GET", "/APP.JS"), ("GET", "/app.js?%"),
           ("GET", "/api/feature/a/b"), ("GET", "/api/feature/a/b/c/d"), ("GET", "/api/feature///"),
           ("GET", "/api/feature/gemma-2-demo/2-gemmascope-res-2k/-1"),
           ("GET", "/api/feature/gemma-2-demo/2-gemmascope-res-2k/2048"),
           ("GET", "/api/feature/gemma-2-demo/2-gemmascope-res-2k/1e3"),
           ("GET", "/api/feature/gemma-2-demo/2-gemmascope-res-2k/99999999999999999999"),
           ("GET", "/api/feature/gemma-2-demo/2-gemmascope-res-2k/'%20OR%201=1"),
           ("GET", "/api/feature/gemma-2-demo/';DROP%20TABLE%20text;--/1"),
           ("GET", "/api/feature/other/2-gemmascope-res-2k/1"), ("GET", "/api/random/a/b"),
           ("GET", "/api/source/gemma-2-demo/none"), ("GET", "/api/source/none/none/summary"),
           ("GET", "/api/source/gemma-2-demo/none/evaluation"),
           ("GET", "/api/source-set/gemma-2-demo/none"), ("GET", "/api"), ("GET", "/v1"),
           ("GET", "/v1/tokenize"), ("PUT", "/v1/tokenize"), ("DELETE", "/api/features"),
           ("PATCH", "/health"), ("POST", "/health"), ("POST", "/metrics"), ("POST", "/"),
           ("POST", "/app.js"), ("TRACE", "/health"), ("CONNECT", "/health"), ("BREW", "/"),
           ("GET", "/metrics/more"), ("GET", "/health/x"), ("GET", "/openapi.json/"),
           ("GET", "/v1/" + "a" * 3000), ("GET", "/api/feature/" + "%41" * 900)]


def send(connection, method, target, body):
    headers = {"Host": "localhost"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, target, body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def answer(port, kept, method, target, body):
    """On one connection as long as the server keeps it."""
    for _ in range(2):
        try:
            kept[0] = kept[0] or http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            return send(kept[0], method, target, body)
        except (http.client.RemoteDisconnected, ConnectionError):
            kept[0] = None
    raise AssertionError("no answer")


# --- making ---------------------------------------------------------------------------------------

def fields_of(example, path=()):
    """Every field of the example: those inside objects and of a list's first entry as well."""
    items = example.items() if isinstance(example, dict) else enumerate(example[:1])
    for key, value in items:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from fields_of(value, (*path, key))


def changed(example, path, *value):
    copy = json.loads(json.dumps(example))
    at = copy
    for key in path[:-1]:
        at = at[key]
    if value:
        at[path[-1]] = value[0]
    else:
        del at[path[-1]]
    return copy


def candidates(server):
    for method, target in TARGETS:
        yield method, target, None
    for path in BODY_ROUTES:
        for body in BODIES:
            yield "POST", path, body
    routes = server.get("/openapi.json").json()["paths"]
    for path, methods in sorted(routes.items()):
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        example = content.get("application/json", {}).get("example")
        if example is None or path == "/api/index" or server.post(path, example).status != 200:
            continue  # of the latter: routes for chat, which the demo's model has no template for
        for field in fields_of(example):
            yield "POST", path, json.dumps(changed(example, field)).encode()
            for value in VALUES.values():
                yield "POST", path, json.dumps(changed(example, field, value)).encode()


def make():
    server, kept, lines, said = Server(), [None], [], set()
    for method, target, body in candidates(server):
        status, reply = answer(server.port, kept, method, target, body)
        if status < 400 or (target, reply) in said or b"an-example" in reply:
            continue  # not wrong (an optional field, say), refused in the very same words, or
            #           refused for what an earlier one left in the database
        said.add((target, reply))
        if status >= 500:
            print(f"{status}: {method} {target} {body!r}: {reply!r}")
        text = "" if body is None else json.dumps(body.decode("latin-1"))
        line = f"{status}\t{method}\t{target}\t{text}"
        if line not in lines:
            lines.append(line)
    os.makedirs(os.path.dirname(TABLE), exist_ok=True)
    with open(TABLE, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    print(f"{len(lines)} lines in {TABLE}")


# --- checking -------------------------------------------------------------------------------------

def holds():
    server, kept = Server(), [None]
    with open(TABLE, encoding="ascii") as file:
        cases = [line.rstrip("\n").split("\t") for line in file]
    with check("the corpus has at least 500 requests, each of its own"):
        expect(len(cases) >= 500, True, len(cases))
        expect(len({tuple(case) for case in cases}), len(cases))
    wrong = []
    for status, method, target, text in cases:
        body = json.loads(text).encode("latin-1") if text else None
        found, reply = answer(server.port, kept, method, target, body)
        try:
            error = json.loads(reply)["error"]
        except (ValueError, KeyError, TypeError):
            error = None
        if str(found) != status or not error:
            wrong.append(f"{method} {target} {text[:200]}: expected {status}, found {found} {reply!r}")
    with check(f"each of {len(cases)} malformed requests gets its status and an error in words"):
        expect(wrong[:5], [], f"{len(wrong)} differ")
    with check("after all of them it answers as before, and stops with exit code 0"):
        reply = server.post("/v1/tokenize", {"text": "there"})
        expect(reply.status, 200)
        expect(server.stop(), 0)


# --- files ----------------------------------------------------------------------------------------

def refused_files(sentence, folder, name, contents, *command):
    """Each content of the file makes the command end with 1 and one line that names the file, or
    another of its folder that it does not fit."""
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        good = file.read()
    with check(f"{sentence} ({len(contents)} files)"):
        for content in contents:
            with open(path, "wb") as file:
                file.write(content)
            code, _, said = run(*command)
            lines = [line for line in said.splitlines() if line.startswith("darkmatter: ")]
            expect((code, len(lines)), (1, 1), f"{content[:300]!r}: exit code and lines of {said!r}")
            expect_in(folder, lines[0])
    with open(path, "wb") as file:
        file.write(good)


def with_header(whole, header):
    """The bytes of a safetensors file with another header."""
    length, = struct.unpack("<Q", whole[:8])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + whole[8 + length:]


def weights_of(path):
    with open(path, "rb") as file:
        whole = file.read()
    length, = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8:8 + length])
    name = "model.norm.weight"
    for n in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1, 100 << 20, length - 1, length + 1):
        yield struct.pack("<Q", n) + whole[8:]
    for n in (0, 1, 7, 8, 9, 8 + length - 1, 8 + length, len(whole) - 1):
        yield whole[:n]
    yield with_header(whole, {key: value for key, value in header.items() if key != name})
    for field, values in {"dtype": [None, "F31", "I32", 5], "shape": [None, [], [0], [255], [2**62, 4],
                                                                      [-1], ["256"], [256, 256]],
                          "data_offsets": [None, [], [0], [5, 4], [-4, 1020], [0, 2**63],
                                           [len(whole), len(whole) + 1024], [0, 1]]}.items():
        for value in values:
            yield with_header(whole, {**header, name: {**header[name], field: value}})
    for value in (None, 5, "text", [], {}):
        yield with_header(whole, {**header, name: value})


def files():
    demo = copy_demo()
    corpus = os.path.join(scratch(), "corpus.jsonl")
    with open(corpus, "w", encoding="ascii") as file:
        file.write('{"text": "there is"}\n')
    opens = ("index", "--model", demo, "--corpus", corpus, "--db", os.path.join(scratch(), "a.db"))
    with open(os.path.join(demo, "config.json"), encoding="ascii") as file:
        config = json.load(file)
    sizes = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "head_dim", "intermediate_size", "vocab_size"]
    values = ["text", -1, 0, 0.5, 1e300, [1], None]
    refused_files("a config.json with a size that is none is named", demo, "config.json",
                  [json.dumps({**config, field: value}).encode() for field in sizes
                   for value in values], *opens)
    refused_files("a config.json that is no object is named", demo, "config.json",
                  [b"", b"{", b"[]", b"5", b'"a"', b"{}", b"\xff", b"\x00" * 100], *opens)
    refused_files("weights that lie about themselves are named", demo, "model.safetensors",
                  list(weights_of(os.path.join(demo, "model.safetensors"))), *opens)
    refused_files("a tokenizer.json that is none is named", demo, "tokenizer.json",
                  [b"", b"{", b"[]", b"{}", b'{"model": 5}', b'{"model": {}}',
                   b'{"model": {"type": "BPE", "vocab": [], "merges": {}}}',
                   b'{"model": {"type": "WordPiece", "vocab": {}}}',
                   b'{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
                   b'{"model": {"type": "BPE", "vocab": {"a": 1e300}, "merges": []}}',
                   b'{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}',
                   b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}'],
                  "tokenize", "--model", demo)
    lines_of_exports()


def lines_of_exports():
    """Wrong lines of `darkmatter import`: each counted, and none costs the good one behind it."""
    good = {"modelId": "m", "layer": "1-a-res-1k", "index": "5", "description": "dogs"}
    wrong = [b"", b"{", b"[]", b"5", b"null", b'"a"', b"{}", b"\xff", b"{\x00}", b"{'a': 1}"][1:]
    wrong += [json.dumps({**good, field: value}).encode() for field in good
              for value in (5.5, -1, None, [1], {"a": 1}, True)
              if (field, value) != ("description", None)]
    path, db = os.path.join(scratch(), "lines.jsonl"), os.path.join(scratch(), "a.db")
    with check(f"each of {len(wrong)} wrong lines of an export is counted, and the good ones are kept"):
        for line in wrong:
            with open(path, "wb") as file:
                file.write(line + b"\n" + json.dumps(good).encode() + b"\n")
            code, out, said = run("import", "--db", db, path)
            expect(code, 1, f"exit code for {line!r} ({out} {said})")
            expect_in("1 wrong", out)
            expect_in("1 explanations", out)
            expect_in("lines.jsonl:1: ", said)


if sys.argv[1:] == ["--make"]:
    make()
else:
    holds()
    files()
    finish()

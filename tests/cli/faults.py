"""What can be wrong with a command line, a database, a model or an SAE: each gives one clear message
and the right exit code (1 failed, 2 usage), or an {"error"} while everything else goes on."""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess

from program import *

RES2 = os.path.join("gemma-scope-demo-res", "layer_2", "width_2k", "average_l0_21", "params.npz")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def refused(sentence, code, *parts, flags=(), db=None, environment=None):
    """serve with these flags ends with the code, and says the parts on stderr."""
    with check(sentence):
        db = db or os.path.join(scratch(), "new.db")
        found, out, said = run("serve", "--port", "0", "--db", db, *flags, environment=environment)
        expect(found, code, f"exit code ({said.strip()})")
        expect(out, "", "stdout")
        for part in parts:
            expect_in(part, said)
        lines = [line for line in said.splitlines() if line.startswith("darkmatter: ")]
        expect(len(lines), 1, f"lines that say what is wrong in {said!r}")


def post_single(server, source="2-gemmascope-res-2k", text="there is", **fields):
    return server.post("/v1/activation/single",
                       {"prompt": text, "source": source, "index": "140", **fields})


def command_line():
    refused("an unknown flag is a matter of usage", 2, "--colour", "has no such flag",
            flags=["--colour", "red"])
    refused("a flag of another command is a matter of usage", 2, "--no-special",
            flags=["--no-special"])
    refused("a flag without its value is a matter of usage", 2, "--token-limit", "expected a value",
            flags=["--token-limit"])
    refused("a port out of range is a matter of usage", 2, "--port", "0..65535", "70000",
            flags=["--port", "70000"])
    refused("an unknown precision is a matter of usage", 2, "--precision", "exact", "bf16", "fp8",
            flags=["--precision", "fp8"])
    refused("--saes without --model is refused", 2, "--saes needs --model",
            flags=["--saes", os.path.join(DEMO, "saes")])
    refused("a --share folder without the site is refused", 2, "/nowhere", "static/",
            flags=["--share", "/nowhere"])
    with check("no command, and one that does not exist, print the usage and exit 2"):
        for arguments in ([], ["swerve"]):
            code, _, said = run(*arguments)
            expect(code, 2)
            expect_in("usage: darkmatter COMMAND", said)
    with check("--help prints the flags and exits 0"):
        code, out, said = run("serve", "--help")
        expect((code, said), (0, ""))
        expect_in("--sae-memory", out)


def access():
    refused("--host 0.0.0.0 without a secret is refused", 1, "--host 0.0.0.0", "DARKMATTER_SECRET",
            "--no-secret", flags=["--host", "0.0.0.0"])
    refused("an address that is not this machine's is refused", 1, "192.0.2.1",
            flags=["--host", "192.0.2.1", "--no-secret"])
    server = Server("--host", "0.0.0.0", environment={"DARKMATTER_SECRET": "quite so"})
    with check("with DARKMATTER_SECRET it listens there, and answers 401 without the header"):
        reply = post_single(server)
        expect(reply.status, 401)
        expect_in("X-SECRET-KEY", reply.error())
        body = {"text": "there"}
        expect(server.post("/v1/tokenize", body, {"X-SECRET-KEY": "quite"}).status, 401)
        expect(server.post("/v1/tokenize", body, {"X-SECRET-KEY": "quite so"}).status, 200)
    with check("/health needs no secret, /metrics does"):
        expect(server.get("/health").status, 200)
        expect(server.get("/metrics").status, 401)
    server.stop()
    server = Server("--allow-host", "lab.example")
    with check("a foreign Host is 403 and names --allow-host, an allowed one is not"):
        reply = server.get("/health", {"Host": "evil.example"})
        expect(reply.status, 403)
        expect_in("--allow-host evil.example", reply.error())
        expect(server.get("/health", {"Host": "lab.example:5002"}).status, 200)
    with check("a foreign Origin is 403, this machine's is not"):
        expect(server.get("/health", {"Origin": "https://evil.example"}).status, 403)
        expect(server.get("/health", {"Origin": "null"}).status, 403)
        expect(server.get("/health", {"Origin": "http://localhost:8080"}).status, 200)
    server.stop()
    with check("a port in use is named"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            code, _, said = run("serve", "--port", port, "--db", os.path.join(scratch(), "new.db"))
        expect(code, 1)
        expect_in(port, said)
        expect_in("in use", said)


def database():
    folder = scratch()
    newer = os.path.join(folder, "newer.db")
    Server(db=newer).stop()
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with open(newer, "rb") as file:
        before = file.read()
    refused("a newer database is left alone", 1, newer, "newer darkmatter", "999", db=newer)
    with check("not a byte of it changed"):
        with open(newer, "rb") as file:
            expect(file.read() == before, True)
    text = os.path.join(folder, "notes.txt")
    with open(text, "w", encoding="utf-8") as file:
        file.write("milk, bread, and a new notebook\n" * 100)
    refused("a file that is no database is left alone", 1, text, "SQLite database", db=text)
    with check("not a byte of that one either"):
        expect(os.path.getsize(text), 3200)
    other = os.path.join(folder, "other.db")
    with sqlite3.connect(other) as db:
        db.execute("PRAGMA application_id = 12345")
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    refused("another program's database is left alone", 1, other, "another program", db=other)
    refused("a database in a folder that does not exist", 1, "/nowhere/new.db",
            db="/nowhere/new.db")
    refused("a folder as database", 1, folder, db=folder)


def fill(path):
    """A file that takes all the space there is."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def full_disk():
    names = ["a full disk while serving is a clear error, and the rest goes on",
             "what was answered before the disk was full is still answered",
             "it serves on once there is space again",
             "a disk that is full at the start is named"]
    disk = scratch()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk],
                             capture_output=True, check=False)
    if mounted.returncode:
        for name in names:
            skip(name, "a small disk can only be mounted by root")
        return
    server = None
    try:
        server = Server(db=os.path.join(disk, "lab.db"))
        asked = [f"number {i} " + "of all the people " * 30 for i in range(40)]
        replies = []
        with check(names[0]):
            filler = os.path.join(disk, "filler")
            replies.append(post_single(server, text=asked[0]))
            fill(filler)
            replies += [post_single(server, text=text) for text in asked[1:]]
            full = [reply for reply in replies if reply.status != 200]
            expect(replies[0].status, 200)
            expect(len(full) > 0, True, "an answer that could not be kept")
            for reply in full:
                expect(reply.status, 500)
                expect_in("the disk is full", reply.error())
            expect(server.post("/v1/tokenize", {"text": "there"}).status, 200)
            expect(server.get("/health").status, 200)
            expect(server.get("/v1/capabilities").status, 200)
        with check(names[1]):
            again = post_single(server, text=asked[0])
            expect((again.status, again.cache), (200, "hit"))
            expect(again.body, replies[0].body)
        with check(names[2]):
            os.remove(filler)
            expect(post_single(server, text="after it").status, 200)
            expect(post_single(server, text="after it").cache, "hit")
            expect(server.stop(), 0)
        fill(filler)
        refused(names[3], 1, os.path.join(disk, "second.db"), "the disk is full",
                db=os.path.join(disk, "second.db"))
    finally:
        if server:
            server.kill()
        subprocess.run(["umount", disk], check=False)


def models():
    refused("a model folder that does not exist", 1, "/nowhere", "expected a model's folder",
            "nothing there", flags=["--model", "/nowhere"])
    refused("a file as model folder", 1, "config.json", "found a file",
            flags=["--model", os.path.join(DEMO, "config.json")])
    refused("an empty folder", 1, "config.json", flags=["--model", scratch()])

    demo = copy_demo()
    weights = os.path.join(demo, "model.safetensors")
    os.truncate(weights, os.path.getsize(weights) - 1000)
    refused("truncated weights", 1, weights, "truncated", flags=["--model", demo])
    os.truncate(weights, 5)
    refused("weights of five bytes", 1, weights, flags=["--model", demo])
    os.remove(weights)
    refused("no weights at all", 1, demo, "safetensors", flags=["--model", demo])

    demo = copy_demo()
    config = os.path.join(demo, "config.json")
    with open(config, encoding="utf-8") as file:
        good = json.load(file)

    def with_config(text):
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)

    with_config('{"model_type": "gemma2", "hidden_size": 256,')
    refused("a config.json that breaks off", 1, config, "not valid JSON", flags=["--model", demo])
    with_config(json.dumps({**good, "model_type": "llama"}))
    refused("a model of another family", 1, config, "llama", flags=["--model", demo])
    with_config(json.dumps({**good, "hidden_size": 512}))
    refused("a config.json that does not fit the weights", 1, "512", flags=["--model", demo])
    with_config(json.dumps({**good, "hidden_size": -1}))
    refused("a negative size", 1, config, "hidden_size", flags=["--model", demo])
    os.remove(config)
    refused("no config.json", 1, demo, "config.json", flags=["--model", demo])

    demo = shard(copy_demo())
    server = Server("--model", demo)
    with check("the demo in two shards serves, without SAEs"):
        expect(server.get("/v1/capabilities").json()["sources"], [])
        expect(server.post("/v1/trace", {"prompt": "there is", "read": ["loss"]}).status, 200)
        server.stop()
    missing = "model-00002-of-00002.safetensors"
    os.remove(os.path.join(demo, missing))
    refused("a missing shard is named", 1, missing, flags=["--model", demo])


def shard(folder):
    """Splits model.safetensors in two, as the hub has large models."""
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    names = sorted(header)
    weight_map = {}
    for part, some in enumerate((names[: len(names) // 2], names[len(names) // 2:]), 1):
        out, blob = {}, b""
        for name in some:
            start, end = header[name]["data_offsets"]
            out[name] = {**header[name], "data_offsets": [len(blob), len(blob) + end - start]}
            blob += data[start:end]
            weight_map[name] = f"model-{part:05}-of-00002.safetensors"
        text = json.dumps(out).encode()
        with open(os.path.join(folder, weight_map[some[0]]), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + blob)
    with open(path + ".index.json", "w", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": len(data)}, "weight_map": weight_map}, file)
    os.remove(path)
    return folder


def without_tokenizer():
    server = Server("--model", copy_demo(TOKENIZERS), "--saes", os.path.join(DEMO, "saes"))
    with check("a model folder without a tokenizer serves and says so"):
        expect_in("tokenizer", server.stderr())
        expect(server.get("/v1/capabilities").json()["has_tokenizer"], False)
    with check("it takes tokens, and names them <id:17> (<bos> is not shown)"):
        reply = post_single(server, text=None, tokens=[2, 17, 130])
        expect(reply.status, 200)
        expect(reply.json()["tokens"], ["<id:17>", "<id:130>"])
    with check("and tells who sends text"):
        reply = post_single(server)
        expect(reply.status, 400)
        expect_in("tokens", reply.error())
    server.stop()
    with check("darkmatter tokenize has nothing to work with there: exit code 1"):
        folder = copy_demo(TOKENIZERS)
        code, out, said = run("tokenize", "--model", folder, stdin='{"text": "there"}\n')
        expect((code, out), (1, ""))
        expect_in(folder, said)
        expect_in("tokenizer.json", said)


def saes():
    demo = copy_demo()
    truncated = os.path.join(demo, "saes", RES2)
    os.truncate(truncated, 1 << 20)
    server = Server("--model", demo, "--saes", os.path.join(demo, "saes"))
    with check("a truncated SAE is named at the start, with the reason"):
        expect_in(f"left out: {os.path.dirname(truncated)}: params.npz: ", server.stderr())
        expect_in("truncated", server.stderr())
    with check("capabilities list it as left out, with the reason"):
        told = server.get("/v1/capabilities").json()
        expect([entry["path"] for entry in told["sources_left_out"]], [os.path.dirname(truncated)])
        expect_in("params.npz", told["sources_left_out"][0]["reason"])
        expect_in("truncated", told["sources_left_out"][0]["reason"])
        expect("2-gemmascope-res-2k" in told["sources"], False)
    with check("the others work"):
        expect(post_single(server, "3-gemmascope-res-2k").status, 200)
        expect(post_single(server, "2-gemmascope-att-2k").status, 200)
    with check("a request for it is 404 and names the source"):
        reply = post_single(server)
        expect(reply.status, 404)
        expect_in("2-gemmascope-res-2k", reply.error())
    server.stop()

    demo = copy_demo()
    gone = os.path.join(demo, "saes", RES2)
    server = Server("--model", demo, "--saes", os.path.join(demo, "saes"))
    os.remove(gone)
    with check("an SAE deleted after the start is a clear error for that source only"):
        reply = post_single(server)
        expect(reply.status in (404, 500), True, f"status {reply.status}")
        expect_in("params.npz", reply.error())
        expect(post_single(server, "3-gemmascope-res-2k").status, 200)
    with check("the file is back: the source works"):
        shutil.copyfile(os.path.join(DEMO, "saes", RES2), gone)
        expect(post_single(server).status, 200)
        expect(server.stop(), 0)
    server = Server("--model", DEMO, "--saes", scratch())
    with check("a folder without SAEs serves the model, and says that it found none"):
        expect_in("no SAE", server.stderr())
        expect(server.get("/v1/capabilities").json()["sources"], [])
        server.stop()
    refused("a folder of SAEs that does not exist", 1, "/nowhere",
            flags=["--model", DEMO, "--saes", "/nowhere"])


def changed_while_mapped():
    demo = copy_demo()
    sae = os.path.join(demo, "saes", RES2)
    weights = os.path.join(demo, "model.safetensors")
    server = Server("--model", demo, "--saes", os.path.join(demo, "saes"))
    expect(post_single(server).status, 200)
    with check("an SAE truncated while it is mapped is a clear error, and no SIGBUS"):
        os.truncate(sae, 1 << 20)
        reply = post_single(server, text="another text")
        expect(reply.status, 500)
        expect_in("params.npz", reply.error())
        expect(server.process.poll(), None)
    with check("meanwhile the other sources are answered, and what was computed before"):
        expect(post_single(server, "3-gemmascope-res-2k").status, 200)
        expect((post_single(server).status, post_single(server).cache), (200, "hit"))
    with check("the file is back, written in place: the source works again"):
        shutil.copyfile(os.path.join(DEMO, "saes", RES2), sae)
        expect(post_single(server, text="another text").status, 200)
    with check("an SAE renamed over while it is mapped changes nothing"):
        shutil.copyfile(os.path.join(demo, "saes", RES2), sae + ".new")
        os.truncate(sae + ".new", 1 << 20)
        os.rename(sae + ".new", sae)
        expect(post_single(server, text="a third text").status, 200)
    with check("weights that are only touched are still the same"):
        os.utime(weights)
        expect(post_single(server, "3-gemmascope-res-2k", text="touched").status, 200)
        expect(server.get("/health").status, 200)
    with check("weights truncated while they are mapped are a clear error, and no SIGBUS"):
        texts = server.metric("darkmatter_cached_texts")
        os.truncate(weights, os.path.getsize(weights) // 2)
        threads, replies = in_threads(lambda i: post_single(server, "3-gemmascope-res-2k",
                                                            text=f"number {i}"), list(range(8)))
        for thread in threads:
            thread.join(SECONDS)
        for reply in replies:
            expect(reply.status, 500)
            expect_in(weights, reply.error())
            expect_in("cut short", reply.error())
    with check("then /health is 503 and says why, cached answers go on, SIGTERM ends with 0"):
        reply = server.get("/health")
        expect(reply.status, 503)
        expect_in(weights, reply.error())
        expect(post_single(server).cache, "hit")
        expect(server.stop(), 0)
    with check("nothing computed from lost weights was kept"):
        with contextlib.closing(sqlite3.connect(server.db)) as db:
            expect(db.execute("SELECT count(*) FROM text").fetchone()[0], texts, "texts")


def tokenize():
    with check("tokenize: a JSON line in, a JSON line out"):
        code, out, said = run("tokenize", stdin='{"text": "In the beginning"}\n{"text": ""}\n')
        expect((code, said), (0, ""))
        first, second = map(json.loads, out.splitlines())
        expect(first["tokens"], ["<bos>", "In", " the", " beginning"])
        expect(first["ids"][0], 2)
        expect(second, {"ids": [2], "tokens": ["<bos>"]})
    with check("tokenize --no-special leaves <bos> out"):
        _, out, _ = run("tokenize", "--no-special", stdin='{"text": "In the beginning"}')
        expect(json.loads(out)["tokens"], ["In", " the", " beginning"])
    with check("tokenize answers a broken line in its place, goes on, and exits 1"):
        code, out, _ = run("tokenize", stdin='{"text": "a"}\n{"text": \n{"txt": "b"}\n'
                           '{"text": "\\u0000"}\n{"text": "c"}\n')
        expect(code, 1)
        lines = [json.loads(line) for line in out.splitlines()]
        expect([sorted(line) for line in lines],
               [["ids", "tokens"], ["error"], ["error"], ["error"], ["ids", "tokens"]])
        expect_in("not valid JSON", lines[1]["error"])
        expect_in("text", lines[2]["error"])
        expect_in("U+0000", lines[3]["error"])


command_line()
access()
database()
full_disk()
models()
without_tokenizer()
saes()
changed_while_mapped()
tokenize()
finish()

"""Requests that cannot be answered, with curl over a real socket: each gets its status and an
{"error"} that names what is wrong."""

import json
import os
import subprocess

from program import *

RES = "2-gemmascope-res-2k"
SINGLE = {"prompt": "there is", "source": RES, "index": "140"}
TRACE = {"prompt": "there is", "read": ["resid_post.2"]}
ALL = {"prompt": "there is", "source_set": "gemmascope-res-2k", "selected_sources": [],
       "sort_by_token_indexes": [], "ignore_bos": True, "num_results": 5}


def curl(server, path, body=None, *flags):
    """(status, content type, body)"""
    command = ["curl", "-sS", "-m", str(SECONDS), "-w", "\n%{http_code} %{content_type}"]
    if body is not None:
        command += ["--data-binary", "@-", "-H", "Content-Type: application/json"]
    done = subprocess.run([*command, *flags, f"http://127.0.0.1:{server.port}{path}"],
                          input=body, capture_output=True, check=True)
    reply, _, told = done.stdout.rpartition(b"\n")
    status, _, kind = told.decode().partition(" ")
    return int(status), kind, reply


def refused(server, sentence, status, part, path, body=None, *flags):
    with check(f"{status}: {sentence}"):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        found, kind, reply = curl(server, path, body, *flags)
        expect(found, status, f"status of {reply!r}")
        expect_in("application/json", kind)
        expect(list(json.loads(reply)), ["error"], "keys")
        expect_in(part, json.loads(reply)["error"])


def without(body, field):
    return {name: value for name, value in body.items() if name != field}


def bodies(server):
    single = "/v1/activation/single"
    refused(server, "no body", 400, "body", single, b"")
    refused(server, "a body that breaks off", 400, "body", single, b'{"prompt": "there')
    refused(server, "a list as body", 400, "body", single, b"[]")
    refused(server, "text behind the object", 400, "body", single, b'{"prompt": "a"} more')
    refused(server, "bytes that are not UTF-8", 400, "UTF-8", single, b'{"prompt": "\xff\xfe"}')
    refused(server, "U+0000 in a string, escaped", 400, "U+0000", single,
            b'{"prompt": "a\\u0000b", "source": "x", "index": "1"}')
    refused(server, "U+0000 in a string, as a byte", 400, "U+0000", single, b'{"prompt": "a\x00b"}')
    refused(server, "nested a thousand deep", 400, "nested", single, b'{"a":' * 1000 + b"}" * 1000)
    refused(server, "a body of five megabytes", 413, "body", single,
            json.dumps({**SINGLE, "prompt": "a" * (5 << 20)}).encode())
    refused(server, "the same in chunks, its length untold", 413, "body", single,
            json.dumps({**SINGLE, "prompt": "a" * (5 << 20)}).encode(),
            "-H", "Transfer-Encoding: chunked")


def fields(server):
    single = "/v1/activation/single"
    refused(server, "no prompt", 422, "prompt", single, without(SINGLE, "prompt"))
    refused(server, "a number as prompt", 422, "prompt", single, {**SINGLE, "prompt": 5})
    refused(server, "no index", 400, "source/index", single, without(SINGLE, "index"))
    refused(server, "an index beyond the SAE", 400, "index: expected 0 to 2047", single,
            {**SINGLE, "index": 2048})
    refused(server, "an index that is no number", 400, "index", single, {**SINGLE, "index": "many"})
    refused(server, "a negative index", 400, "index", single, {**SINGLE, "index": -1})
    refused(server, "a source that does not exist", 404, "9-gemmascope-res-2k", single,
            {**SINGLE, "source": "9-gemmascope-res-2k"})
    refused(server, "a number as model", 422, "model", single, {**SINGLE, "model": 2})
    refused(server, "prompt and tokens at once", 400, "tokens", single, {**SINGLE, "tokens": [2]})
    refused(server, "a prompt over the limit, both numbers named", 400, "max is 256", single,
            {**SINGLE, "prompt": "the light " * 300})
    refused(server, "an id beyond the vocabulary", 400, "tokens[1]", single,
            {**without(SINGLE, "prompt"), "tokens": [2, 4096]})
    refused(server, "a string among the ids", 422, "tokens[0]", single,
            {**without(SINGLE, "prompt"), "tokens": ["2"]})
    refused(server, "two spellings that differ", 400, "source_set", "/v1/activation/all",
            {**ALL, "sourceSet": "other"})
    refused(server, "a set that does not exist", 400, "gemmascope-res-9k", "/v1/activation/all",
            {**ALL, "source_set": "gemmascope-res-9k"})
    refused(server, "num_results that is no number", 422, "num_results", "/v1/activation/all",
            {**ALL, "num_results": "all"})
    refused(server, "no prompts in a batch", 400, "prompts", "/v1/activation/single-batch",
            {**without(SINGLE, "prompt"), "prompts": []})
    refused(server, "65 prompts in a batch", 400, "maximum of 64", "/v1/activation/single-batch",
            {**without(SINGLE, "prompt"), "prompts": ["a"] * 65})
    refused(server, "top_k that is no number", 422, "top_k", "/v1/activation/topk-by-token",
            {"prompt": "there", "source": RES, "top_k": "all", "ignore_bos": True})
    refused(server, "a layer beyond the model", 400, "layer", "/v1/activation/attention",
            {"prompt": "there", "layer": 5, "head": 0})
    refused(server, "a vector of the wrong length", 400, "vector", "/v1/util/sae-topk-by-decoder-cossim",
            {"vector": [1.0, 2.0], "source": RES, "num_results": 5})
    refused(server, "a tensor that does not exist", 400, "resid_past.2", "/v1/trace",
            {**TRACE, "read": ["resid_past.2"]})
    refused(server, "nothing to read", 400, "read", "/v1/trace", {**TRACE, "read": []})
    refused(server, "a position beyond the prompt", 400, "positions", "/v1/trace",
            {**TRACE, "positions": [100]})
    refused(server, "an edit of an unknown type", 400, "edits[0]", "/v1/trace",
            {**TRACE, "edits": [{"type": "zap", "point": "mlp_out.1"}]})
    refused(server, "a text that is a list", 422, "text", "/v1/tokenize", {"text": ["there"]})


def addresses(server):
    refused(server, "an unknown path", 404, "/v1/activations", "/v1/activations", SINGLE)
    refused(server, "a page that does not exist", 404, "/nothing.html", "/nothing.html")
    refused(server, "a path out of the site", 404, "..", "/../Makefile", None, "--path-as-is")
    refused(server, "an encoded path out of the site", 404, "..", "/%2e%2e%2fMakefile")
    refused(server, "a percent sign without its digits", 400, "%", "/v1/%zz")
    refused(server, "GET where POST is meant", 405, "does not take GET", "/v1/activation/single")
    refused(server, "DELETE", 405, "does not take DELETE", "/health", None, "-X", "DELETE")
    with check("405 says in Allow what is meant"):
        *_, reply = curl(server, "/v1/tokenize", None, "-i")
        expect_in(b"\r\nAllow: POST", reply)


server = Server("--reply-limit", "4M")
bodies(server)
fields(server)
addresses(server)
refused(server, "a reply over --reply-limit, named before it is computed", 413, "4194304", "/v1/trace",
        {"prompt": "the light " * 80, "read": ["neurons.*", "logits"]})
with check("after all of them it answers as before"):
    status, _, reply = curl(server, "/v1/activation/single", json.dumps(SINGLE).encode())
    expect(status, 200)
    expect(len(json.loads(reply)["activation"]["values"]), 3)
    expect(server.stop(), 0)
finish()

"""The log of `serve`, request ids, and latencies in /metrics, over real sockets."""

import json

from program import *

SECRET = "the-secret-of-this-lab"
KEY = {"X-SECRET-KEY": SECRET}
ASK = {"prompt": "God created", "source": "2-gemmascope-res-2k", "index": 251}


def lines_of(server):
    return [json.loads(line) for line in server.stderr().splitlines()]


server = Server("--log", "json", environment={"DARKMATTER_SECRET": SECRET})
server.post("/v1/activation/single?x=hidden-query", ASK, {**KEY, "X-Request-Id": "mine-1"})
reply = server.post("/v1/activation/single", {**ASK, "index": "x"}, KEY)
refused = server.post("/v1/activation/single", ASK, {"X-SECRET-KEY": SECRET + "x",
                                                      "X-Request-Id": "mine-2"})

with check("a request id of the client comes back, in errors too; others get one of ours"):
    expect(refused.status, 401)
    expect(refused.headers["x-request-id"], "mine-2")
    expect(reply.status in (400, 422), True, reply.body)
    if not 3 <= len(reply.headers["x-request-id"]) <= 64:
        raise AssertionError(reply.headers["x-request-id"])

with check("every line of --log json is an object; each request is one, with its id and status"):
    until(lambda: len([1 for line in lines_of(server) if line["event"] == "request"]) >= 3, "lines")
    seen = {line["id"]: line for line in lines_of(server) if line["event"] == "request"}
    expect(len(seen), 3)
    expect((seen["mine-1"]["status"], seen["mine-1"]["cache"], seen["mine-1"]["route"]),
           (200, "miss", "/v1/activation/single"))
    expect(seen[reply.headers["x-request-id"]]["status"], reply.status)
    expect(seen["mine-2"]["status"], 401)
    expect(all(line["ms"] > 0 and not line["slow"] for line in seen.values()), True)

with check("neither the secret nor a query nor a prompt is in the log"):
    for word in (SECRET, "hidden-query", "God created"):
        expect(word in server.stderr(), False, word)

server.post("/v1/trace", {"prompt": "God created", "read": ["logits"], "positions": [-1], "top": 3},
            {**KEY, "X-Request-Id": "mine-3"})
server.post("/v1/steer/completion", {"prompt": "God created", "types": ["DEFAULT"], "stream": True,
                                     "n_completion_tokens": 40, "temperature": 0.5, "freq_penalty": 0,
                                     "seed": 1, "strength_multiplier": 1},
            {**KEY, "X-Request-Id": "mine-4"})
with check("a request's time in the queue is told apart, and a stream's until its first word"):
    until(lambda: {"mine-3", "mine-4"} <= {line.get("id") for line in lines_of(server)}, "lines")
    seen = {line["id"]: line for line in lines_of(server) if line["event"] == "request"}
    for request in ("mine-1", "mine-3", "mine-4"):
        expect(0 < seen[request]["queued_ms"] < seen[request]["ms"], True, seen[request])
    expect("queued_ms" in seen["mine-2"], False)
    expect("first_ms" in seen["mine-3"], False)
    expect(seen["mine-4"]["queued_ms"] < seen["mine-4"]["first_ms"] < seen["mine-4"]["ms"], True,
           seen["mine-4"])

with check("/metrics has a histogram of every route that was asked"):
    text = server.get("/metrics", KEY).body.decode()
    name = "darkmatter_http_request_duration_seconds"
    expect_in(f'{name}_bucket{{route="/v1/activation/single",le="+Inf"}} ', text)
    counts = [line for line in text.splitlines()
              if line.startswith(name + '_count{route="/v1/activation/single"}')]
    expect(counts[0].split()[1] in ("2", "3"), True, counts)

with check("the end is an object too"):
    expect(server.stop(), 0)
    expect_in("stopping", lines_of(server)[-1]["message"])

quiet = Server("--slow-ms", "1")
quiet.post("/v1/activation/source", {"prompts": ["And it came to pass " * 30],
                                     "source": "2-gemmascope-res-2k"})
with check("a quiet log still has a line for a slow request"):
    until(lambda: "warning slow POST /v1/activation/source 200" in quiet.stderr(), "the line")
quiet.stop()

quiet = Server()
quiet.post("/v1/activation/single", ASK)
quiet.get("/nothing")
with check("and none for one that is answered or the caller's mistake"):
    expect(quiet.stop(), 0)
    expect(" /v1/activation/single " in quiet.stderr() or "/nothing" in quiet.stderr(), False)

finish()

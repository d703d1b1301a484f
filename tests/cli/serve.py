"""serve on the demo: what it answers first, and how it stops."""

import json
import math
import os
import signal

from program import *

SOURCES = ["2-gemmascope-att-2k", "2-gemmascope-mlp-2k", "2-gemmascope-res-2k", "3-gemmascope-res-2k"]
WORDS = "the light upon a water of all people that come in every day with king and ship".split()


def first_answers():
    server = Server()
    with check("says on one line what it serves, where, and on which database"):
        expect_in("darkmatter serves gemma-2-demo (4 sources) on http://127.0.0.1:", server.line)
        expect_in(server.db, server.line)
    with check("GET /health answers 200"):
        expect(server.get("/health").status, 200)
    with check("capabilities name the model, its sources and its limits"):
        told = server.get("/v1/capabilities").json()
        expect(told["model"], "gemma-2-demo")
        expect(told["sources"], SOURCES)
        expect(told["sources_left_out"], [])
        expect(told["endpoints"]["trace"], True)
        expect(told["endpoints"]["dfa"], False)
        expect((told["num_layers"], told["hidden_size"], told["token_limit"]), (5, 256, 256))
    against_reference(server)
    with check("darkmatter health exits 0 while it serves"):
        expect(run("health", "--port", str(server.port))[:2], (0, "healthy\n"))
    with check("the site is served at /"):
        expect_in(b"<!doctype html>", server.get("/").body.lower())
    with check("SIGTERM without any request under way exits 0"):
        expect(server.stop(), 0)
    with check("darkmatter health exits 1 and says so when nobody serves"):
        code, out, said = run("health", "--port", str(server.port))
        expect((code, out), (1, ""))
        expect_in(f"no healthy server on 127.0.0.1, port {server.port}", said)


def against_reference(server):
    with open(os.path.join(DEMO, "reference.json"), encoding="utf-8") as file:
        reference = json.load(file)

    def trace(names, positions):
        reply = server.post("/v1/trace", {"tokens": reference["ids"], "read": names,
                                          "positions": positions})
        expect(reply.status, 200, reply.body)
        return {name: tensor["data"] for name, tensor in reply.json()["tensors"].items()}

    points = {"res": "resid_post", "mlp": "mlp_out", "attn": "z"}
    with check("every layer's heads, MLP and output are those of demo/reference.json"):
        names = [f"{point}.*" for point in points.values()]
        tensors = trace(names, [-1])
        for key, known in reference["layers"].items():
            site, layer = key.split(".")
            row = tensors[f"{points[site]}.{layer}"]
            expect_close(math.hypot(*row), known["norm_last"], 1e-3, f"|{key}|")
            for i, value in enumerate(known["first8_last"]):
                expect_close(row[i], value, 1e-4, f"{key}[{i}]")
    for folder, rows in reference["saes"].items():
        site, layer = folder.split("/")[1].split("-")[-1], folder.split("layer_")[1].split("/")[0]
        source = f"{layer}-gemmascope-{site}-2k"
        with check(f"the activations of {source} are those of demo/reference.json"):
            for row in rows:
                acts = trace([f"acts:{source}"], [row["position"]])[f"acts:{source}"]
                active = [i for i, value in enumerate(acts) if value > 0]
                expect(len(active), row["l0"], f"L0 at position {row['position']}")
                for index, value in row["top"]:
                    expect_close(acts[index], value, 1e-3, f"feature {index}")
                strongest = max(active, key=lambda i: acts[i])
                expect(strongest, row["top"][0][0], "the strongest feature")


def long_batch(number):
    """A request of some 5,000 tokens: a second of work for the one worker."""
    prompts = [" ".join(WORDS[(number + i + j * (i + 1)) % len(WORDS)] for j in range(200))
               for i in range(24)]
    return {"prompts": prompts, "source": SOURCES[number % 4]}


def stops_with(number):
    server = Server()
    name = number.name
    batches = [long_batch(i) for i in range(6)]
    traces = [{"prompt": " ".join(WORDS * 12), "read": ["resid_post.*", "neurons.*"]}] * 2
    requests = [("/v1/activation/source", body) for body in batches]
    requests += [("/v1/trace", body) for body in traces]
    threads, replies = in_threads(lambda request: server.post(*request), requests)
    # All have arrived: one that is still on its way to the listening socket may be turned away.
    until(lambda: len(requests) - replies.count(None) + server.metric("darkmatter_queue_jobs")
          >= len(requests) - 1, "the requests are waiting")
    unanswered = replies.count(None)
    server.process.send_signal(number)
    for thread in threads:
        thread.join(SECONDS)
    with check(f"{name} finds requests under way"):
        if unanswered < 5:
            raise AssertionError(f"only {unanswered} of {len(requests)} were unanswered")
    with check(f"{name} lets every one of them be answered with 200 and its full body"):
        for (path, body), reply in zip(requests, replies):
            if isinstance(reply, Exception) or reply is None:
                raise AssertionError(f"{path}: {reply!r}")
            expect(reply.status, 200, path)
            if path.endswith("source"):
                expect(len(reply.json()["results"]), len(body["prompts"]))
            else:
                expect(len(reply.json()["tensors"]), 10)
    with check(f"{name} then ends the program with exit code 0"):
        expect(server.process.wait(SECONDS), 0)
        expect_in("stopping: answering what is under way", server.stderr())
    with check(f"{name} leaves the database closed, without a -wal beside it"):
        expect(sorted(os.listdir(os.path.dirname(server.db))), ["darkmatter.db", "stderr"])
    with check(f"after {name} everything answered is found again"):
        server = Server(db=server.db)
        for body, reply in zip(batches[:2], replies):
            again = server.post("/v1/activation/source", body)
            expect(again.cache, "hit")
            expect(again.body == reply.body, True, "the same bytes")
        expect(server.stop(), 0)


first_answers()
stops_with(signal.SIGTERM)
stops_with(signal.SIGINT)
finish()

"""verify: the real program against golden/, and against numbers that are wrong on purpose."""

import json
import os

from program import *

GOLDEN = os.path.join(ROOT, "golden", "gemma-2-demo.json")


def changed(change):
    """The demo's golden file with a change, somewhere else."""
    with open(GOLDEN, encoding="utf-8") as file:
        golden = json.load(file)
    change(golden)
    path = os.path.join(scratch(), "golden.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(golden, file)
    return path


def named(golden, name):
    return next(check for check in golden["checks"] if check["name"] == name)


with check("verify on the demo finds every published number and exits 0"):
    code, out, said = run("verify")
    expect(code, 0, said)
    expect_in("ok      next token: 20 values, furthest probability of", out)
    expect_in("ok      logit lens: resid_post.4:", out)
    expect(out.splitlines()[-1], "gemma-2-demo: 24 ok, 0 FAILED, 0 skipped")

with check("a logit that is off by 0.01 fails by name, with what was expected and found; exit code 1"):
    def off(golden):
        named(golden, "next token")["top"][2][1] += 0.01
    code, out, said = run("verify", "--golden", changed(off))
    expect(code, 1, said)
    lines = [line for line in out.splitlines() if line.startswith("FAILED")]
    expect(len(lines), 1, "lines that failed")
    expect_in("FAILED  next token: 1 of 20 off, furthest logit of ", lines[0])
    expect_in("(may be off by 0.001)", lines[0])
    expect(out.splitlines()[-1], "gemma-2-demo: 23 ok, 1 FAILED, 0 skipped")

with check("--json says the same, for programs"):
    code, out, said = run("verify", "--json", "--golden", changed(off))
    result = json.loads(out)
    expect((code, result["ok"], result["failed"], result["skipped"]), (1, 23, 1, 0))
    bad = [line for line in result["checks"] if line["outcome"] == "FAILED"]
    expect([line["what"] for line in bad], ["next token"])
    expect((bad[0]["compared"], bad[0]["off"]), (20, 1))
    expect_close(float(bad[0]["expected"]) - float(bad[0]["found"]), 0.01, 1e-4, "difference")

with check("what verify finds of a lens is what POST /v1/lens/prompt says, to the last digit shown"):
    with open(GOLDEN, encoding="utf-8") as file:
        tables = named(json.load(file), "logit lens")
    lines = {line["what"]: line for line in json.loads(run("verify", "--json")[1])["checks"]}
    server = Server()
    seen = 0
    for point in tables["points"]:
        line = lines[f"logit lens: {point}"]
        what, token = line["item"].split(' of "', 1)
        site, _, layer = point.partition(".")
        body = {"prompt": tables["prompt"], "sites": [site], "positions": [-1], "top_n": 0,
                "track": [token[:-1]], "stream": False, **({"layers": [int(layer)]} if layer else {})}
        reply = server.post("/v1/lens/prompt", body)
        expect(reply.status, 200, reply.body)
        result = reply.json()["tokens"][0]["results"][0]
        key = "track_logits" if what == "logit" else "track_probs"
        expect(f"{result[key][0][0]:.7g}", line["found"], line["what"])
        seen += 1
    expect(seen, len(tables["points"]))
    server.stop()

with check("SAEs that are missing are named and skipped, and the rest is checked"):
    code, out, said = run("verify", "--model", DEMO)
    expect(code, 0, said)
    expect_in("skipped features of 2-gemmascope-mlp-2k: 2-gemmascope-mlp-2k of L0 18 is not under "
              "--saes", out)
    expect(out.splitlines()[-1], "gemma-2-demo: 14 ok, 0 FAILED, 10 skipped")

with check("weights that were changed in one place are found out"):
    folder = copy_demo()
    path = os.path.join(folder, "model.safetensors")
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(-20000, os.SEEK_END)
        file.write(bytes([0x40, 0x3F] * 5000))
    code, out, said = run("verify", "--model", folder, "--saes", os.path.join(folder, "saes"))
    expect(code, 1, said)
    expect_in("FAILED  logit lens: resid_post.4", out)

with check("a model that nobody has published numbers for is said to be one; exit code 1"):
    code, out, said = run("verify", "--model-id", "gemma-9")
    expect((code, out), (1, ""))
    expect_in('no published numbers for "gemma-9", but for gemma-2-2b, gemma-2-demo, '
              "gemma-3-270m-it", said.replace("gemma-2-demo, gemma-2-2b", "gemma-2-2b, gemma-2-demo"))
    expect_in("--model-id", said)

with check("a golden file that is none is one clear line"):
    path = changed(lambda golden: named(golden, "next token").pop("top"))
    code, out, said = run("verify", "--golden", path)
    expect(code, 1)
    expect_in('check "next token": top: expected a list that is not empty', said)

with check("a file that is not there is one clear line"):
    code, out, said = run("verify", "--golden", "no/such.json")
    expect(code, 1)
    expect_in("no/such.json", said)

finish()

"""--precision over HTTP: a server says which it has, bf16 stays as near to exact as docs/model.md
says, and neither is ever answered with what the other computed."""

import math

from program import *

SOURCE = "2-gemmascope-res-2k"
PROMPT = "In the beginning God created the heaven and the earth."
SPARSE = {"prompts": [PROMPT], "source": SOURCE}
READ = ["resid_post.*", "mlp_out.*", "attn_out.*", "neurons.*", "z.*", "logits", "loss"]
LONGEST = 0.02  # of an array's length, docs/model.md: `--precision bf16`


def traced(server):
    reply = server.post("/v1/trace", {"prompt": PROMPT, "read": READ})
    expect(reply.status, 200, reply.body)
    return reply.json()["tensors"]


def sparse(server, state):
    reply = server.post("/v1/activation/source", SPARSE)
    expect((reply.status, reply.cache), (200, state), reply.body)
    return reply.body


def length(values):
    return math.sqrt(sum(value * value for value in values))


exact = Server("--precision", "exact")
bf16 = Server("--precision", "bf16")

with check("capabilities say which precision a server has; exact is the default"):
    expect(exact.get("/v1/capabilities").json()["precision"], "exact")
    expect(bf16.get("/v1/capabilities").json()["precision"], "bf16")
    default = Server()
    expect(default.get("/v1/capabilities").json()["precision"], "exact")
    default.stop()

with check("what bf16 reads of every layer is within 2 % of exact, and is rounded"):
    want, got = traced(exact), traced(bf16)
    expect(sorted(got), sorted(want))
    for name, tensor in want.items():
        expect(got[name]["shape"], tensor["shape"], name)
        difference = length(a - b for a, b in zip(got[name]["data"], tensor["data"]))
        expect(0 < difference <= LONGEST * length(tensor["data"]), True, f"{name}: {difference}")

with check("bf16 gives the same bytes a second time, computed again on another database"):
    other = Server("--precision", "bf16")
    expect(sparse(other, "miss"), sparse(bf16, "miss"))
    expect(traced(other), traced(bf16))
    other.stop()

with check("on one database each precision is answered from its own values only"):
    first = sparse(exact, "miss")
    exact.stop()
    bf16.stop()
    second = Server("--precision", "bf16", db=exact.db)
    rounded = sparse(second, "miss")
    expect(rounded != first, True, "rounded values differ")
    expect(sparse(second, "hit"), rounded)
    second.stop()
    third = Server("--precision", "exact", db=exact.db)
    expect(sparse(third, "hit"), first)
    third.stop()

finish()

"""pack: a BF16 copy of an F32 model, from the command line."""

import json
import os
import subprocess

from program import *

F32 = os.path.join(ROOT, "tests", "fixtures", "oracle", "gemma2-nano-f32-sharded")


def size(folder):
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)
               if name.endswith(".safetensors"))


with check("writes a copy of half the size and says what rounding did"):
    out = os.path.join(scratch(), "small")
    code, said, notes = run("pack", "--model", F32, out)
    expect(code, 0, notes)
    expect_in("0.43 MB of weights became 0.21 MB, with 2 files beside them", said)
    expect_in("weights (", said)
    expect_in("largest error: ", said)
    expect_in("largest relative error: 0.00388", said)
    if not size(out) < 0.6 * size(F32):
        raise AssertionError(f"{size(out)} of {size(F32)} bytes")
    expect(sorted(name for name in os.listdir(out) if "safetensors" in name),
           sorted(name for name in os.listdir(F32) if name.startswith("model")
                  and "safetensors" in name))

with check("--json says the same, for programs"):
    code, said, notes = run("pack", "--json", "--model", F32, os.path.join(scratch(), "small"))
    told = json.loads(said)
    expect((code, told["bytes_in"]), (0, 2 * told["bytes_out"]))
    if not 0 < told["largest_relative"]["error"] <= 2 ** -8:
        raise AssertionError(told["largest_relative"])

with check("serve takes the copy under the model's own name"):
    server = Server("--model", out)
    expect_in("darkmatter serves gemma2-nano-f32-sharded (0 sources)", server.line)
    tokens = {"tokens": [2, 3, 4], "read": ["logits"], "positions": [-1], "top": 3}
    expect(server.post("/v1/trace", tokens).status, 200)
    server.stop()

with check("a BF16 model, an existing folder and no model are refused in one line"):
    code, said, notes = run("pack", "--model", DEMO, os.path.join(scratch(), "x"))
    expect((code, said), (1, ""))
    expect_in("expected weights in F32 or F16, found none", notes)
    code, said, notes = run("pack", "--model", F32, scratch())
    expect(code, 1)
    expect_in("remove it or name another", notes)
    code, said, notes = run("pack", os.path.join(scratch(), "x"))
    expect(code, 2)
    expect_in("pack: expected --model FOLDER", notes)

with check("a disk that is too small is known before anything is written"):
    disk = scratch()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "none", disk],
                             capture_output=True, check=False).returncode == 0
    if not mounted:
        print("          (not shown: only root can mount a small disk)")
    else:
        try:
            code, said, notes = run("pack", "--model", F32, os.path.join(disk, "small"))
            expect((code, said), (1, ""))
            expect_in("MB free: make room", notes)
            expect(os.listdir(disk), [])
        finally:
            subprocess.run(["umount", disk], check=True)

finish()

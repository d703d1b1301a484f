"""darkmatter collect: the files are read by hand, as the safetensors format says, and hold what POST
/v1/trace gives, bit for bit; runs that are killed, stopped or meet a full disk go on and come to the
same bytes."""

import array
import os
import random
import signal
import struct
import time

from program import *

READS = ["resid_post.2", "mlp_out.3", "q.1", "embed"]
FLAGS = [part for name in READS for part in ("--read", name)] + ["--shard-size", "1500k"]
LIMIT = ["--limit-tokens", "3000"]
ITEMS = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4, "I64": 8, "U8": 1}


def collect(out, *flags, code=0):
    found, said, error = run("collect", *flags, out)
    expect(found, code, f"exit code ({error.strip()[-300:]})")
    return said + error


def read(path):
    """{name: (dtype, shape, bytes)} of a safetensors file whose tensors fill it without gaps."""
    with open(path, "rb") as file:
        data = file.read()
    size, = struct.unpack("<Q", data[:8])
    expect(size % 8, 0, "the data's alignment")
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__")
    expect(metadata, {"model": "gemma-2-demo"}, "metadata")
    at, found = 0, {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        elements = 1
        for length in entry["shape"]:
            elements *= length
        expect((begin, end - begin), (at, elements * ITEMS[entry["dtype"]]), f"bytes of {name}")
        expect(begin % ITEMS[entry["dtype"]], 0, f"alignment of {name}")
        found[name] = entry["dtype"], entry["shape"], data[8 + size + begin:8 + size + end]
        at = end
    expect(8 + size + at, len(data), "length of the file")
    return found


def numbers(tensor):
    code = {"F32": "f", "I32": "i", "I64": "q", "U8": "B"}[tensor[0]]
    return array.array(code, tensor[2])


def index(out):
    with open(os.path.join(out, "index.json"), encoding="utf-8") as file:
        return json.load(file)


def everything(out):
    """{name: bytes} of the folder."""
    found = {}
    for name in sorted(os.listdir(out)):
        with open(os.path.join(out, name), "rb") as file:
            found[name] = file.read()
    return found


def traced(server, ids):
    reply = server.post("/v1/trace", {"tokens": ids, "read": READS, "format": "safetensors"})
    expect(reply.status, 200, "status of a trace")
    size, = struct.unpack("<Q", reply.body[:8])
    header = json.loads(reply.body[8:8 + size])
    return {name: (entry["shape"], reply.body[8 + size + entry["data_offsets"][0]:
                                             8 + size + entry["data_offsets"][1]])
            for name, entry in header.items() if name in READS}


def check_shards(server, out):
    """Every row of every shard; returns how many contexts there were."""
    document = 0
    for entry in index(out)["shards"]:
        path = os.path.join(out, entry["file"])
        expect(os.path.getsize(path), entry["bytes"], "bytes")
        shard = read(path)
        expect(set(shard), {"documents", "tokens", "positions", "bos", *READS}, "tensors")
        documents, tokens, positions, bos = (numbers(shard[name]) for name in
                                             ("documents", "tokens", "positions", "bos"))
        expect((len(tokens), entry["first_document"]), (entry["rows"], document), "rows")
        row = 0
        while row < len(tokens):
            end = row
            while end < len(tokens) and documents[end] == document:
                end += 1
            ids = list(tokens[row:end])
            expect(list(positions[row:end]), list(range(len(ids))), "positions")
            expect(list(bos[row:end]), [int(id == 2) for id in ids], "marks of <bos>")
            for name, (shape, data) in traced(server, ids).items():
                dtype, whole, rows = shard[name]
                expect((dtype, whole[1:]), ("F32", shape[1:]), f"shape of {name}")
                width = len(data) // len(ids)
                expect(rows[row * width:end * width] == data, True, f"{name} of context {document}")
            row, document = end, document + 1
        expect(entry["documents"], document - entry["first_document"], "contexts")
    return document


def bf16(data):
    halves = array.array("H")
    for bits in array.array("I", data):
        halves.append((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    return halves.tobytes()


def narrow(folder, whole):
    with check("--dtype bf16 rounds each number to the nearest, f16 as Python's struct does"):
        for dtype, convert in [("bf16", bf16), ("f16", lambda data: struct.pack(
                f"<{len(data) // 4}e", *array.array("f", data)))]:
            out = os.path.join(folder, dtype)
            collect(out, *FLAGS, *LIMIT, "--dtype", dtype)
            expect(index(out)["dtype"], dtype.upper(), "dtype")
            joined = {name: b"".join(read(os.path.join(out, e["file"]))[name][2]
                                     for e in index(out)["shards"]) for name in READS}
            for name in READS:
                wanted = b"".join(convert(read(os.path.join(whole, e["file"]))[name][2])
                                  for e in index(whole)["shards"])
                expect(joined[name] == wanted, True, f"{name} as {dtype}")


def written(out):
    """How many shards index.json lists by now."""
    return len(index(out)["shards"]) if os.path.exists(os.path.join(out, "index.json")) else 0


def broken_off(folder, wanted, flags):
    with check("killed with SIGKILL at eight moments it comes to the same bytes"):
        out, moments, seen = os.path.join(folder, "killed"), random.Random(3), set()
        for attempt in range(30):
            process = subprocess.Popen([DARKMATTER, "collect", *flags, out],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env=ENVIRONMENT)
            if attempt < 8:  # by what is there, not by the clock: machines differ in speed
                more = written(out) + moments.randrange(5)
                while process.poll() is None and written(out) <= more:
                    time.sleep(0.001)
                process.send_signal(signal.SIGKILL)
            process.wait(SECONDS)
            if os.path.exists(os.path.join(out, "index.json")):
                seen.add(len(index(out)["shards"]))
            if process.returncode == 0:
                break
        found = everything(out)
        expect([name for name in found if name.endswith(".partial")], [], "what is left over")
        expect(found == wanted, True, "the same")
        expect(len(seen) > 2, True, f"shards on the way ({sorted(seen)})")
    with check("Ctrl-C stops it with exit code 1 and a line how to go on, which it does"):
        out = os.path.join(folder, "stopped")
        process = subprocess.Popen([DARKMATTER, "collect", *flags, out], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=ENVIRONMENT)
        until(lambda: os.path.exists(os.path.join(out, "index.json")), "the first file")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
        expect(process.returncode, 1, "exit code")
        expect_in("the same command goes on", said.decode())
        collect(out, *flags)
        expect(everything(out) == wanted, True, "the same")
    with check("a full disk is one clear line, and the run goes on when there is room"):
        out = os.path.join(folder, "full")
        os.mkdir(out)
        obstacle = os.path.join(out, "shard-00002.safetensors.partial")
        os.symlink("/dev/full", obstacle)
        said = collect(out, *flags, code=1)
        expect_in("shard-00002.safetensors: cannot be written: No space left on device", said)
        expect(len(said.strip().splitlines()[-1]) < 300, True, "one line")
        expect(len(index(out)["shards"]), 2, "whole files")
        collect(out, *flags)
        expect(everything(out) == wanted, True, "the same")


def refused(folder, out):
    for flags, code, word in [
            ([*FLAGS, *LIMIT, "--dtype", "bf16"], 1, "dtype"),
            (["--read", "embed", *LIMIT], 1, "reads"),
            ([*FLAGS, *LIMIT, "--context", "64"], 1, "contexts"),
            (["--read", "resid_post.9"], 1, "resid_post.9"),
            (["--read", "loss"], 1, "loss"),
            (["--read", "pattern.*"], 1, "pattern.*"),
            ([*FLAGS, "--dtype", "f64"], 2, "--dtype"),
            ([*FLAGS, "--shard-size", "0"], 2, "--shard-size"),
            ([], 2, "--read")]:
        with check(f"collect {' '.join(flags)} ends with {code} and names what is wrong"):
            expect_in(word, collect(out, *flags, code=code))
    with check("another corpus under the same name is noticed"):
        path = os.path.join(folder, "texts.jsonl")
        there = os.path.join(folder, "texts")
        for text, code in [("one two three", 0), ("four five six", 1)]:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": f"{text} {i}"}) + "\n" for i in range(200))
            limit = ["--limit-tokens", "700" if code else "500"]
            said = collect(there, "--read", "embed", "--shard-size", "200k", "--corpus", path, *limit,
                           code=code)
        expect_in("the corpus has changed", said)


def main():
    folder = scratch()
    out = os.path.join(folder, "whole")
    with check("collect writes shards and index.json"):
        expect_in("collected gemma-2-demo: 2944 rows of 23 contexts", collect(out, *FLAGS, *LIMIT))
        shards = index(out)["shards"]
        expect(len(shards) > 3 and index(out)["complete"], True, "several files")
        expect(max(entry["bytes"] for entry in shards) < 1500 * 1024 + 2048, True, "their size")
    server = Server()
    with check("which hold what POST /v1/trace gives, bit for bit, <bos> too"):
        expect(check_shards(server, out), 23, "contexts")
    server.stop()
    before = everything(out)
    with check("a second run finds everything there"):
        expect_in("already collected", collect(out, *FLAGS, *LIMIT))
        expect(everything(out) == before, True, "the same")
    with check("neither threads nor a limit raised later change a byte"):
        other = os.path.join(folder, "other")
        collect(other, *FLAGS, "--limit-tokens", "1300", "--threads", "1")
        collect(other, *FLAGS, *LIMIT, "--threads", "1")
        expect(everything(other) == before, True, "the same")
    with check("a file that was removed or cut is made again, and those behind it"):
        os.remove(os.path.join(other, shards[1]["file"]))
        with open(os.path.join(other, shards[3]["file"]), "r+b") as file:
            file.truncate(1000)
        collect(other, *FLAGS, *LIMIT)
        expect(everything(other) == before, True, "the same")
    narrow(folder, out)
    refused(folder, out)
    long = [*FLAGS, "--limit-tokens", "12000"]
    whole = os.path.join(folder, "long")
    collect(whole, *long)
    broken_off(folder, everything(whole), long)


main()
finish()

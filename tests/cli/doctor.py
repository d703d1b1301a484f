"""doctor: each thing that may be wrong with model, SAEs, database and machine is seen, named with its
file, and told what to do about; what is right is not called wrong."""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess

from program import *

ORACLE = os.path.join(ROOT, "tests", "fixtures", "oracle")
SHARDED = os.path.join(ORACLE, "gemma2-nano-f32-sharded")
RES = os.path.join("saes", "gemma-scope-demo-res", "layer_2", "width_2k")
SECRET = "t0p-s3cret-of-the-lab"


def doctor(*flags, environment=None, prefix=(), db=None):
    """What it finds: {"wrong": [...], "note": [...], "ok": [...]} of "area message"; the exit code is
    that of what it says."""
    done = subprocess.run(
        [*prefix, DARKMATTER, "doctor", "--json", "--port", "0", "--db",
         db or os.path.join(scratch(), "new.db"), *flags],
        capture_output=True, timeout=SECONDS, env={**ENVIRONMENT, **(environment or {})}, check=False)
    report = json.loads(done.stdout)
    found = {"ok": [], "note": [], "wrong": []}
    for finding in report["findings"]:
        found[finding["finding"]].append(finding["area"] + " " + finding["message"])
    expect([report["ok"], report["notes"], report["wrong"]], [len(some) for some in found.values()])
    expect(done.returncode, 1 if found["wrong"] else 0, f"exit code of {report}")
    return found


def expect_one(found, kind, *parts):
    """One finding of the kind, and these are parts of it."""
    if len(found[kind]) != 1:
        raise AssertionError(f"expected one {kind}, found {json.dumps(found, indent=1)}")
    for part in parts:
        expect_in(part, found[kind][0])


def expect_first(found, *parts):
    """The first thing that is wrong, which has these parts; others may follow from it."""
    for part in parts:
        expect_in(part, (found["wrong"] or ["nothing"])[0])


def cut(path, part=0.5):
    os.truncate(path, int(os.path.getsize(path) * part))


def nano():
    folder = os.path.join(scratch(), "nano")
    shutil.copytree(SHARDED, folder, ignore=shutil.ignore_patterns("saes", "expected*", "cases*"))
    return folder


def right():
    with check("of the demo nothing is wrong and nothing is to be noted"):
        found = doctor()
        expect((found["wrong"], found["note"]), ([], []))
        for part in ("model every tensor is there", "saes 2-gemmascope-res-2k, L0 21: 2048 features",
                     "database ", "machine "):
            if not any(part in line for line in found["ok"]):
                raise AssertionError(f"{part} is not in {found['ok']}")
    with check("without --json it is a line for each, and their sum"):
        db = os.path.join(scratch(), "x.db")
        code, said, notes = run("doctor", "--port", "0", "--db", db)
        expect((code, notes), (0, ""))
        lines = said.splitlines()
        expect(lines[-1], f"{len(lines) - 1} ok, 0 notes, 0 WRONG")
        expect({line.split()[1] for line in lines[:-1]}, {"ok"})
        expect(os.path.exists(db), False)
    with check("it takes the flags of serve, and no others"):
        expect(doctor("--log", "json", "--no-auto-index", "--slow-ms", "5", "--allow-host", "lab")["wrong"],
               [])
        code, _, notes = run("doctor", "--corpus", "x")
        expect(code, 2)
        expect_in("--corpus: darkmatter doctor has no such flag", notes)


def model():
    with check("a shard that is missing"):
        folder = nano()
        os.remove(os.path.join(folder, "model-00002-of-00003.safetensors"))
        expect_one(doctor("--model", folder), "wrong", "model ", "model-00002-of-00003.safetensors",
                   folder)
    with check("a shard that is cut short"):
        folder = nano()
        cut(os.path.join(folder, "model-00003-of-00003.safetensors"), 0.9)
        expect_one(doctor("--model", folder), "wrong", "model-00003-of-00003.safetensors",
                   "truncated or damaged, download it again")
    with check("a link of a hub cache that leads nowhere, beside an unfinished download"):
        cache = os.path.join(scratch(), "models--google--gemma-2-nano")
        snapshot = os.path.join(cache, "snapshots", "0a1b")
        os.makedirs(os.path.join(cache, "blobs"))
        shutil.copytree(nano(), snapshot)
        os.remove(os.path.join(snapshot, "model-00002-of-00003.safetensors"))
        os.symlink("../../blobs/77aa", os.path.join(snapshot, "model-00002-of-00003.safetensors"))
        with open(os.path.join(cache, "blobs", "77aa.incomplete"), "wb") as file:
            file.write(b"half of it")
        expect_one(doctor("--model", cache), "wrong", "model-00002-of-00003.safetensors",
                   "77aa.incomplete")
    with check("a config.json that is missing, no JSON, or another model's"):
        folder = nano()
        config = os.path.join(folder, "config.json")
        with open(config, encoding="utf-8") as file:
            right_one = json.load(file)
        for text, part in ((None, "config.json"), ("{", "config.json"),
                           (json.dumps({**right_one, "model_type": "llama"}), "llama"),
                           (json.dumps({**right_one, "hidden_size": 64}), "expected")):
            os.remove(config)
            if text is not None:
                with open(config, "w", encoding="utf-8") as file:
                    file.write(text)
            expect_first(doctor("--model", folder), "model ", folder, part)
            if text is None:
                shutil.copyfile(os.path.join(SHARDED, "config.json"), config)
    with check("a folder that is not there, or holds no model"):
        expect_one(doctor("--model", "/no/such/model"), "wrong", "/no/such/model")
        expect_one(doctor("--model", scratch()), "wrong", "config.json")
    with check("a tokenizer that is missing: ids are still taken"):
        found = doctor("--model", nano())
        expect_one(found, "wrong", "no tokenizer.json and no tokenizer.model", "copy either file there")
        expect(any("F32; `darkmatter pack" in line for line in found["note"]), True, found["note"])
    with check("a tokenizer that is damaged"):
        folder = copy_demo()
        cut(os.path.join(folder, "tokenizer.json"))
        expect_one(doctor("--model", folder), "wrong", "tokenizer.json")


def saes():
    with check("an SAE that is cut short; the others are all right"):
        folder = copy_demo()
        cut(os.path.join(folder, RES, "average_l0_21", "params.npz"))
        found = doctor("--model", folder, "--saes", os.path.join(folder, "saes"))
        expect_one(found, "wrong", "saes left out", os.path.join(RES, "average_l0_21"), "params.npz")
        expect(sum(line.startswith("saes ") for line in found["ok"]), 3)
    with check("SAELens weights that are cut short, and those without their cfg.json"):
        folder = os.path.join(scratch(), "saes")
        shutil.copytree(os.path.join(ORACLE, "gemma2-nano-bf16", "saes", "saelens", "nano-standard"), folder)
        arguments = ("--model", os.path.join(ORACLE, "gemma2-nano-bf16"), "--saes", folder)
        cut(os.path.join(folder, "sae_weights.safetensors"), 0.7)
        wrong = [line for line in doctor(*arguments)["wrong"] if line.startswith("saes ")]
        expect(len(wrong), 1)
        expect_in("sae_weights.safetensors", wrong[0])
        os.remove(os.path.join(folder, "cfg.json"))
        expect(any("without a cfg.json" in line for line in doctor(*arguments)["wrong"]), True)
    with check("an SAE of another width than the model's"):
        other = os.path.join(ORACLE, "gemma3-nano-bf16")
        found = doctor("--model", other, "--saes", os.path.join(DEMO, "saes"))
        fit = [line for line in found["wrong"] if "does not fit the model" in line]
        expect(len(fit), 4, str(found))
    with check("kinds that are not served are a note, not wrong"):
        folder = copy_demo()
        odd = os.path.join(folder, "saes", "gemma-scope-demo-res", "embedding", "width_2k", "average_l0_6")
        shutil.copytree(os.path.join(folder, RES, "average_l0_21"), odd)
        expect_one(doctor("--model", folder, "--saes", os.path.join(folder, "saes")), "note",
                   "embedding/width_2k", "token embedding")
    with check("a folder without SAEs, one that is not there, and none named"):
        expect_one(doctor("--model", DEMO, "--saes", scratch()), "wrong", "no SAE lies under")
        expect_one(doctor("--model", DEMO, "--saes", "/no/such/saes"), "wrong", "/no/such/saes")
        expect_one(doctor("--model", DEMO), "note", "no --saes were named")
    with check("a budget that is smaller than the SAEs, and a tuned lens that is none"):
        expect_one(doctor("--sae-memory", "1M"), "note", "more than --sae-memory (1.0 MB)")
        expect_one(doctor("--tuned-lens", os.path.join(DEMO, "config.json")), "wrong", "config.json")


def fresh_database():
    server = Server()
    expect(server.post("/v1/activation/single", {"prompt": "a", "source": "2-gemmascope-res-2k",
                                                 "index": "1"}).status, 200)
    server.stop()
    return server.db


def database():
    original = fresh_database()

    def copied():
        return shutil.copy(original, os.path.join(scratch(), "lab.db"))

    def change(db, sql):
        with contextlib.closing(sqlite3.connect(db)) as connection:
            connection.executescript(sql)

    with check("a database that is whole: what it holds, and nothing of it is changed"):
        db = copied()
        with open(db, "rb") as file:
            before = file.read()
        found = doctor(db=db)
        expect((found["wrong"], found["note"]), ([], []))
        expect(any("it holds values of gemma-2-demo: 1 sources, 1 texts" in line for line in found["ok"]),
               True, found["ok"])
        with open(db, "rb") as file:
            expect(file.read() == before, True)
        expect(os.listdir(os.path.dirname(db)), ["lab.db"])
    with check("values of other weights or another precision are said to be computed again"):
        expect_one(doctor("--precision", "bf16", db=copied()), "note", "computed again")
    with check("one that a server works with is all right"):
        server = Server(db=copied())
        found = doctor(db=server.db)
        expect((found["wrong"], found["note"]), ([], []))
        server.stop()
    with check("one of a newer darkmatter, and one of an older"):
        db = copied()
        change(db, "PRAGMA user_version = 7007")
        expect_one(doctor(db=db), "wrong", "database ", db, "newer darkmatter", "schema 7007",
                   "use that version")
        with open(os.path.join(ROOT, "migrations", "0001_activation_cache.sql"), encoding="utf-8") as file:
            first = file.read()
        db = os.path.join(scratch(), "old.db")
        change(db, f"{first};PRAGMA application_id = {0x646B6D72}; PRAGMA user_version = 1")
        expect_one(doctor(db=db), "note", db, "older darkmatter", "make a backup before")
    with check("one of another program, and a file that is none"):
        db = os.path.join(scratch(), "songs.db")
        change(db, "CREATE TABLE song (title)")
        expect_one(doctor(db=db), "wrong", db, "another program")
        expect_one(doctor(db=os.path.join(DEMO, "config.json")), "wrong", "config.json",
                   "another kind of file")
    with check("one that is damaged in the middle, and one that is cut short"):
        db = copied()
        with open(db, "r+b") as file:
            file.seek(8192 * 3)
            file.write(b"\xa5" * 8192 * 3)
        expect_one(doctor(db=db), "wrong", db, "is damaged", ".recover")
        db = copied()
        cut(db, 0.4)
        expect_one(doctor(db=db), "wrong", db, "is damaged", "restore a copy")
    with check("one whose lock another program holds, for writing and altogether"):
        db = copied()
        with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            found = doctor(db=db)
            expect_one(found, "wrong", db, "another process has held the database's lock")
            expect(any("whole" in line for line in found["ok"]), True)
        with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            expect_one(doctor(db=db), "wrong", db, "another process has held the database's lock")
    with check("one that may not be written, and a folder that may not or is not there"):
        db = copied()
        os.chmod(db, 0o444)
        os.chmod(os.path.dirname(db), 0o755)
        nobody = []
        if os.geteuid() == 0:
            nobody = ["setpriv", "--reuid", "5002", "--regid", "5002", "--clear-groups"]
        expect_one(doctor(db=db, prefix=nobody), "wrong", "cannot be written")
        os.chmod(os.path.dirname(db), 0o777)
        expect_one(doctor(db=db, prefix=nobody), "wrong", db, "the database cannot be written")
        expect_one(doctor(db="/no/such/folder/lab.db"), "wrong", "/no/such/folder", "make it")
    with check("a disk that is full, one that is nearly, and a network share"):
        expect_one(doctor(db=copied(), environment=pretend(free=50 << 20)), "wrong", "the disk of ",
                   "has 52.4 MB left")
        expect_one(doctor(environment=pretend(free=900 << 20)), "note", "has 943.7 MB left")
        expect_one(doctor(environment=pretend(fs=0x6969)), "wrong", "network share (NFS)", "local disk")


def machine():
    def file(name, text):
        root = scratch()
        os.makedirs(os.path.join(root, os.path.dirname(name)))
        with open(os.path.join(root, name), "w", encoding="ascii") as out:
            out.write(text)
        return pretend(root=root)

    with check("a machine, and a container, with less memory than the weights want"):
        found = doctor(environment=file("proc/meminfo", "MemTotal: 300000 kB\nMemAvailable: 9000000 kB\n"))
        expect_one(found, "wrong", "model ", "there are 307.2 MB", "take a smaller model")
        group = file("sys/fs/cgroup/memory.max", "104857600\n")
        expect_one(doctor(environment=group), "wrong", "there are 104.9 MB")
    with check("memory that others use"):
        expect_one(doctor(environment=file("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 2000 kB\n")),
                   "note", "only 2.0 MB are free")
    with check("a processor without AVX2"):
        old = file("proc/cpuinfo", "model name\t: Old One\nflags\t\t: fpu sse4_2 avx avx2x\n")
        expect_one(doctor(environment=old), "note", "has no AVX2")
    with check("huge pages that are off"):
        off = file("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n")
        expect_one(doctor(environment=off), "note", "huge pages are off")
    with check("processors that may not be used"):
        if len(os.sched_getaffinity(0)) > 1:
            expect_one(doctor("--threads", "1"), "note", "1 are used")
            expect_one(doctor(prefix=["taskset", "-c", str(min(os.sched_getaffinity(0)))]), "note",
                       "1 are used")
    with check("limits on open files and on addresses"):
        expect_one(doctor(prefix=["prlimit", "--nofile=100:100"]), "wrong", "100 files may be open")
        expect_one(doctor(prefix=["prlimit", "--nofile=1024:4096"]), "note", "4096 files")
        expect_one(doctor(prefix=["prlimit", f"--as={900 << 20}"]), "wrong", "943.7 MB of addresses",
                   "unlimited")
    with check("no place for temporary files"):
        expect_one(doctor(environment={"TMPDIR": "/no/such/folder"}), "wrong", "/no/such/folder",
                   "set TMPDIR")
    with check("a port that another program has, and one where a server answers"):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            expect_one(doctor("--port", str(taken.getsockname()[1])), "wrong", "in use", "--port")
        server = Server()
        expect_one(doctor("--port", str(server.port)), "note", "a server answers on port")
        server.stop()
    with check("an address beyond this machine without a secret"):
        expect_one(doctor("--host", "0.0.0.0"), "wrong", "set DARKMATTER_SECRET")
        found = doctor("--host", "0.0.0.0", environment={"DARKMATTER_SECRET": SECRET})
        expect((found["wrong"], SECRET in json.dumps(found)), ([], False))
    with check("a program that was copied out of its folder"):
        alone = shutil.copy(DARKMATTER, scratch())
        done = subprocess.run([alone, "doctor", "--port", "0", "--model", DEMO, "--db",
                               os.path.join(scratch(), "x.db")], capture_output=True, check=False)
        expect(done.returncode, 1)
        expect_in(b"static/ and migrations/ were not found beside the program", done.stdout)


right()
model()
saes()
database()
machine()
finish()

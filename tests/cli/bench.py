"""darkmatter bench: every figure is there, held against limits that can be right, and a wrong
request gives one clear sentence. How fast it is here is nothing that a test could know."""

import contextlib
import glob
import json
import os

from program import DEMO, check, expect, expect_in, finish, run, scratch

PER_PRECISION = ["prefill 1", "prefill 8", "prefill 32", "prefill 128", "prefill 512", "prefill 1024",
                 "prefill 16 of 32", "features 7", "features 512", "features 16 of 32", "decode 1",
                 "decode 2", "decode steered", "index"]
ONCE = ["encode 512", "start", "first answer", "memory", "memory 512", "memory 1024",
        "cached activation", "cached activation p99", "cached page", "cached page p99",
        "indexing: activation p99", "indexing: page p99"]
TOO_LONG = {"prefill 512", "prefill 1024", "features 512", "memory 512", "memory 1024"}


def one_line(stderr):
    """The error, without what was said of the machine and of progress."""
    lines = [line for line in stderr.splitlines() if line.startswith("darkmatter: ")]
    expect(len(lines), 1, f"errors in {stderr!r}")
    return lines[0]


folder = scratch()
temporary = {"TMPDIR": folder}
code, out, err = run("bench", "--rounds", "1", "--json", environment=temporary, seconds=300)
report = json.loads(out) if code == 0 else {}
figures = {(f["figure"], f["precision"]): f for f in report.get("figures", [])}

with check("the demo is measured, and the report is one JSON object"):
    expect(code, 0, err)
    expect(report["model"], "gemma-2-demo")
    expect(report["source"], "2-gemmascope-res-2k")
    expect(report["rounds"], 1)
    expect(report["layers"], 5)

with check("every figure has a line, in both precisions where there are two"):
    expected = {(name, p) for name in PER_PRECISION for p in ("exact", "bf16")}
    expect(set(figures), expected | {(name, None) for name in ONCE})

with check("what needs more positions than the model has is left out with the reason"):
    skipped = {name for (name, _), f in figures.items() if "skipped" in f}
    expect(skipped, TOO_LONG)
    expect(figures["prefill 512", "exact"]["skipped"], "the model has 256 positions")

with check("values are above 0, one a round, and shares of the limits can be right"):
    for (name, precision), f in figures.items():
        if "skipped" in f:
            continue
        expect(len(f["values"]), 1, name)
        assert f["low"] == f["median"] == f["high"] > 0, (name, precision, f)
        for key in ("of_fp32", "of_bf16", "of_reads", "of_ready"):
            most = 3 if key == "of_ready" else 1.6  # two programs that share two processors by chance
            assert f[key] is None or 0 < f[key] < most, (name, precision, key, f[key])
        if f["limit"]:
            expect(f["share"], max(f["of_" + limit] or 0 for limit in ("reads", "ready", f["limit"])),
                   name)

with check("a cached answer is held against a body that is ready"):
    for name in ("cached activation", "cached page"):
        expect(figures[name, None]["limit"], "ready")

with check("the machine is described, with its peaks"):
    machine = report["machine"]
    assert machine["cpu"] and machine["kernels"] and machine["threads"] >= 1
    assert machine["memory_gb"] > 0 and machine["load"] >= 0
    assert 0 <= machine["others"] <= 1 and 0 <= machine["stolen"] <= 1
    assert report["peaks"]["reads_gbs"] > 0
    assert report["peaks"]["reads_gbs_low"] <= report["peaks"]["reads_gbs"]

with check("nothing is left behind in the temporary folder"):
    expect(os.listdir(folder), [])

with check("figures can be chosen by the words they begin with; the table is plain text"):
    code, out, err = run("bench", "--rounds", "3", "--precision", "exact", "prefill 1", "decode 1")
    expect(code, 0, err)
    lines = [line for line in out.splitlines() if line.startswith(("prefill", "decode"))]
    expect([line[:10] for line in lines], ["prefill 1 ", "decode 1  "])
    for line in lines:
        expect_in(" exact ", line)
        expect_in("% of ", line)
    expect_in("gemma-2-demo (5 layers of 256", out)
    expect_in("peaks: fp32 ", out)
    expect_in("load ", out)

with check("a model without SAEs is measured as far as it goes"):
    code, out, err = run("bench", "--model", DEMO, "--rounds", "1", "--precision", "exact",
                         "prefill 1", "features", "index", "start")
    expect(code, 0, err)
    expect_in("needs an SAE: --saes FOLDER", out)
    assert any(line.startswith("start ") and " ms" in line for line in out.splitlines()), out

with check("another model is asked while it indexes, too; pages are the demo's alone"):
    code, out, err = run("bench", "--model", DEMO, "--saes", os.path.join(DEMO, "saes"), "--rounds",
                         "1", "--precision", "bf16", "--json", "indexing", "cached")
    expect(code, 0, err)
    found = {f["figure"]: f for f in json.loads(out)["figures"]}
    assert found["indexing: activation p99"]["median"] > 0
    for name in ("indexing: page p99", "cached page", "cached page p99"):
        expect(found[name]["skipped"], "measured on the demo: without --model")

with check("a figure that there is none of is named, beside those that there are"):
    code, out, err = run("bench", "prefil", environment=temporary)
    expect(code, 1, err)
    expect_in('there is no figure "prefil"; expected the beginning of one of: prefill 1, prefill 8',
              one_line(err))
    expect(os.listdir(folder), [])

with check("flags out of range, unknown ones and an unknown SAE are refused in one sentence"):
    for flags, status, words in (
            (["--rounds", "0"], 2, "--rounds: expected a whole number in 1..99"),
            (["--precision", "f16"], 2, "--precision: expected both|exact|bf16"),
            (["--db", "x.db"], 2, "--db: darkmatter bench has no such flag"),
            (["--source", "a", "--source", "b"], 2, "bench: expected one --source NAME"),
            (["--source", "nowhere"], 1, "--source nowhere: there is no such SAE"),
            (["--model", "/nonexistent"], 1, "/nonexistent")):
        code, out, err = run("bench", *flags, environment=temporary)
        expect(code, status, " ".join(flags))
        expect_in(words, one_line(err))
        expect(out, "")

with check("a temporary folder that is not there is said"):
    code, out, err = run("bench", environment={"TMPDIR": "/nonexistent"})
    expect(code, 1)
    expect_in("TMPDIR", one_line(err))

with check("no server of its own is left running"):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as command:
            assert folder.encode() not in command.read(), path

finish()

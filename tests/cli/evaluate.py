"""darkmatter evaluate: every figure is counted again, in Python, from the arrays that POST /v1/trace
gives; a run that is interrupted goes on; what cannot be done is said."""

import json
import math
import os
import signal
import subprocess
import time

from program import *

FIXTURE = os.path.join(ROOT, "tests", "fixtures", "oracle", "gemma2-nano-bf16")
MODEL = ("--model", FIXTURE, "--saes", os.path.join(FIXTURE, "saes"))
SOURCES = {"2-gemmascope-res-160": "resid_post.2", "2-gemmascope-att-160": "z.2",
           "2-gemmascope-transcoder-112": "mlp_out.2"}
with open(os.path.join(FIXTURE, "cases-lenses.json"), encoding="utf-8") as cases:
    TEXTS = json.load(cases)["corpus"]["texts"]
with open(os.path.join(FIXTURE, "config.json"), encoding="utf-8") as config:
    CONFIG = json.load(config)
UNCOUNTED = {CONFIG["bos_token_id"], CONFIG["pad_token_id"],
             CONFIG["eos_token_id"] if isinstance(CONFIG["eos_token_id"], int) else CONFIG["eos_token_id"][0]}


def corpus(texts):
    path = os.path.join(scratch(), "texts.jsonl")
    with open(path, "w", encoding="utf-8") as out:
        for ids in texts:
            out.write(json.dumps({"tokens": ids}) + "\n")
    return path


def rows(tensors, name):
    flat, shape = tensors[name]["data"], tensors[name]["shape"]
    if len(shape) == 1:
        return flat
    return [flat[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def trace(server, ids, read, edits=()):
    reply = server.post("/v1/trace", {"tokens": ids, "read": read, "edits": list(edits)})
    expect(reply.status, 200, f"trace ({reply.body[:300]})")
    return reply.json()["tensors"]


def log_softmax(logits):
    top = max(logits)
    total = top + math.log(math.fsum(math.exp(x - top) for x in logits))
    return [x - total for x in logits]


def least_squares(pairs, held):
    """R^2 on `held` of the fit of the pairs (x, e): Gauss-Jordan on the normal equations."""
    d, m = len(pairs[0][0]) + 1, len(pairs[0][1])
    table = [[0.0] * (d + m) for _ in range(d)]
    for x, e in pairs:
        one = [*x, 1.0]
        right = [*one, *e]
        for i, value in enumerate(one):
            row = table[i]
            for j, other in enumerate(right):
                row[j] += value * other
    for p in range(d):
        pivot = table[p]
        for i in range(d):
            if i != p and table[i][p]:
                factor = table[i][p] / pivot[p]
                table[i] = [a - factor * b for a, b in zip(table[i], pivot)]
    fit = [[table[i][d + j] / table[i][i] for i in range(d)] for j in range(m)]
    residual, variance = [0.0] * m, [0.0] * m
    for j in range(m):
        mean = math.fsum(e[j] for _, e in held) / len(held)
        residual[j] = math.fsum((e[j] - dot([*x, 1.0], fit[j])) ** 2 for x, e in held)
        variance[j] = math.fsum((e[j] - mean) ** 2 for _, e in held)
    return (1 - math.fsum(residual[:-1]) / math.fsum(variance[:-1]),
            1 - residual[-1] / variance[-1])


def counted_again(server, source, site):
    """The figures of a report, from traces alone."""
    l0, errors, cosines, relative, ratios, kls = [], [], [], [], [], {"splice": [], "zero": [], "mean": []}
    targets, bias_yy, bias_xy, losses = [], [], [], {"clean": [], "splice": [], "zero": [], "mean": []}
    fitted, held, per_token, per_context = [], [], {}, []
    said_by_error, said_in_all = [], []
    for number, ids in enumerate(TEXTS):
        keep = [i in UNCOUNTED for i in ids]
        clean = trace(server, ids, [f"{kind}:{source}" for kind in ("input", "acts", "recon", "error")]
                      + [site, "logits", "loss"])
        reply = server.post("/v1/dark-matter", {"tokens": ids, "source": source, "runs": [], "top": 0})
        expect(reply.status, 200, f"dark matter ({reply.body[:300]})")
        dark = reply.json()
        x, y, e = rows(clean, site), rows(clean, f"recon:{source}"), rows(clean, f"error:{source}")
        mine = []
        for t, skip_it in enumerate(keep):
            if skip_it:
                continue
            err2, xx, yy = dot(e[t], e[t]), dot(x[t], x[t]), dot(y[t], y[t])
            l0.append(sum(a != 0 for a in rows(clean, f"acts:{source}")[t]))
            errors.append(err2)
            said_by_error.append(dark["err_logit"][t])
            said_in_all.append(dark["argmax_precap"][t])
            targets.append(x[t])
            cosines.append(dot(x[t], y[t]) / math.sqrt(xx * yy))
            relative.append(math.sqrt(err2 / xx))
            ratios.append(math.sqrt(yy / xx))
            bias_yy.append(yy)
            bias_xy.append(dot(x[t], y[t]))
            mine.append(relative[-1])
            per_token.setdefault(ids[t], []).append((relative[-1], err2))
            pair = (rows(clean, f"input:{source}")[t], [*e[t], err2])
            (held if number % 4 == 3 else fitted).append(pair)
        per_context.append((sum(mine) / len(mine), number))
        positions = [t for t in range(1, len(ids)) if not keep[t]]
        mean = [math.fsum(x[t][i] for t in positions) / len(positions) for i in range(len(x[0]))]
        at = [t for t, skip_it in enumerate(keep) if not skip_it]
        edits = {"splice": [{"type": "splice", "source": source, "positions": at}],
                 "zero": [{"type": "zero", "point": site, "positions": at}],
                 "mean": [{"type": "zero", "point": site, "positions": at},
                          {"type": "add", "point": site, "vector": mean, "strength": 1, "positions": at}]}
        said = {"clean": clean, **{name: trace(server, ids, ["logits", "loss"], edit)
                                   for name, edit in edits.items()}}
        for t, skip_it in enumerate(keep):
            if skip_it:
                continue
            if t + 1 < len(ids) and not keep[t + 1]:
                for name, tensors in said.items():
                    losses[name].append(tensors["loss"]["data"][t])
            p = log_softmax(rows(clean, "logits")[t])
            for name in kls:
                q = log_softmax(rows(said[name], "logits")[t])
                kls[name].append(math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q)))
    n, width = len(errors), len(targets[0])
    centre = [math.fsum(x[i] for x in targets) / n for i in range(width)]
    around = math.fsum(dot([a - b for a, b in zip(x, centre)], [a - b for a, b in zip(x, centre)]) for x in targets)
    ce = {name: math.fsum(values) / len(values) for name, values in losses.items()}
    r2, norm_r2 = least_squares(fitted, held)
    recovered = {name: (ce[name] - ce["splice"]) / (ce[name] - ce["clean"])
                 if abs(ce[name] - ce["clean"]) >= 0.05 else None for name in ("zero", "mean")}
    average = lambda values: math.fsum(values) / len(values)
    zero, splice = average(kls["zero"]), average(kls["splice"])
    return {"tokens": n, "predictions": len(losses["clean"]),
            "figures": {"l0": average(l0), "mse": sum(errors) / n / width, "fvu": sum(errors) / around,
                        "cosine": average(cosines), "relErr": average(relative), "l2Ratio": average(ratios),
                        "relativeReconstructionBias": sum(bias_yy) / sum(bias_xy),
                        "ceClean": ce["clean"], "ceSplice": ce["splice"], "ceZero": ce["zero"],
                        "ceMean": ce["mean"], "klSplice": average(kls["splice"]),
                        "klZero": average(kls["zero"]), "klMean": average(kls["mean"]),
                        "lossRecovered": recovered["zero"], "lossRecoveredMean": recovered["mean"],
                        "klRecovered": (zero - splice) / zero,
                        "errNorm": average([math.sqrt(err2) for err2 in errors]),
                        "errLogit": average(said_by_error),
                        "errShare": math.fsum(said_by_error) / math.fsum(said_in_all)},
            "linear": {"tokens": len(fitted), "heldOutTokens": len(held), "r2": r2, "normR2": norm_r2},
            "relative": relative, "l0s": l0, "per_token": per_token,
            "contexts": sorted(per_context, reverse=True)[:20]}


def near(found, expected, what, tolerance=2e-4):
    if expected is None or found is None:
        expect(found, expected, what)
    else:
        expect_close(found, expected, tolerance * max(1.0, abs(expected)), what)


def check_report(report, again):
    for name, value in again["figures"].items():
        near(report["figures"][name], value, name)
    expect(report["tokens"], again["tokens"], "tokens")
    expect(report["predictions"], again["predictions"], "predictions")
    expect(report["linear"]["tokens"], again["linear"]["tokens"], "tokens fitted")
    expect(report["linear"]["heldOutTokens"], again["linear"]["heldOutTokens"], "tokens held out")
    near(report["linear"]["r2"], again["linear"]["r2"], "r2", 1e-3)
    near(report["linear"]["normR2"], again["linear"]["normR2"], "normR2", 1e-3)


def check_lists(report, again):
    expect(sum(report["l0Histogram"]["counts"]), again["tokens"], "tokens in the histogram of L0")
    for active, count in enumerate(report["l0Histogram"]["counts"]):
        expect(count, again["l0s"].count(active), f"tokens with {active} active features")
    expect(sum(report["errorHistogram"]["counts"]), again["tokens"], "tokens in the histogram of errors")
    for i, count in enumerate(report["errorHistogram"]["counts"]):
        inside = sum(int(value / 0.025 + 1e-5) == i for value in again["relative"])
        expect_close(count, inside, 2, f"bin {i}")  # a value at a border
    total = math.fsum(err2 for values in again["per_token"].values() for _, err2 in values)
    for one in report["heaviestTokens"]:
        values = again["per_token"][one["id"]]
        expect(one["count"], len(values), "count")
        near(one["relErr"], math.fsum(v for v, _ in values) / len(values), "relErr")
        near(one["share"], math.fsum(v for _, v in values) / total, "share")
    often = {i: sum(v for v, _ in values) / len(values) for i, values in again["per_token"].items()
             if len(values) >= report["leastCount"]}
    for one, value in zip(report["worstTokens"], sorted(often.values(), reverse=True)):
        near(one["relErr"], value, "worst token")
    expect(len(report["worstTokens"]), min(50, len(often)), "worst tokens")
    for one, (value, _) in zip(report["worstContexts"], again["contexts"]):
        near(one["relErr"], value, "worst context")
        expect(len(one["tokens"]), len(TEXTS[one["number"]]), "its tokens")


def check_votes(server, reports):
    """The mean error's votes are the means of what attribution gives to the error, token by token."""
    votes = {source: report["errorVotes"]["promoted"][:5] + report["errorVotes"]["suppressed"][:5]
             for source, report in reports.items()}
    targets = sorted({vote["id"] for some in votes.values() for vote in some})
    sums = {source: [0.0] * len(targets) for source in votes}
    n = 0
    for ids in TEXTS:
        for t, token in enumerate(ids):
            if token in UNCOUNTED:
                continue
            n += 1
            reply = server.post("/v1/attribution", {"tokens": ids, "position": t, "targets": targets,
                                                    "sources": list(votes)})
            expect(reply.status, 200, f"attribution ({reply.body[:300]})")
            for source, parts in reply.json()["sae_error"].items():
                for i, part in enumerate(parts):
                    sums[source][i] += part
    for source, some in votes.items():
        for vote in some:
            near(vote["logit"], sums[source][targets.index(vote["id"])] / n, f"{source}, {vote}", 1e-3)
        logits = [vote["logit"] for vote in reports[source]["errorVotes"]["promoted"]]
        expect(logits, sorted(logits, reverse=True), "falling")
        logits = [vote["logit"] for vote in reports[source]["errorVotes"]["suppressed"]]
        expect(logits, sorted(logits), "rising")
        expect(len(logits), 10, "ten of them")


flags = [flag for source in SOURCES for flag in ("--source", source)]
path = corpus(TEXTS)
server = Server(*MODEL)
code, out, said = run("evaluate", *MODEL, "--db", server.db, "--corpus", path, "--keep-duplicates",
                      *flags, "--json")
with check("evaluate_prints_one_report_a_source"):
    expect(code, 0, said)
    reports = {report["source"]: report for report in json.loads(out)}
    expect(list(reports), list(SOURCES), "sources")
for source, site in SOURCES.items():
    again = counted_again(server, source, site)
    with check(f"the_figures_of_{source}_are_those_counted_from_traces"):
        check_report(reports[source], again)
    with check(f"so_are_the_lists_of_{source}"):
        check_lists(reports[source], again)
with check("what_errors_vote_for_on_average_is_what_attribution_gives_to_them"):
    check_votes(server, reports)
with check("the_site_s_route_gives_the_same_reports"):
    for source in SOURCES:
        reply = server.get(f"/api/source/gemma2-nano-bf16/{source}/evaluation").json()
        expect(reply["evaluations"][0]["report"], reports[source], source)
server.stop()

with check("a_table_is_printed_without_json"):
    code, out, said = run("evaluate", *MODEL, "--db", server.db, "--corpus", path, "--keep-duplicates", *flags)
    expect(code, 0, said)
    expect_in("texts.jsonl, 600 tokens", out)
    expect_in("2-gemmascope-att-160", out)
    expect(said.count("tokens/s"), 0, "progress of what is finished")  # nothing was computed again

with check("a_run_that_is_interrupted_goes_on_and_comes_to_the_same"):
    many = corpus(TEXTS * 30)
    same = ("--corpus", many, "--name", "many", "--keep-duplicates", "--threads", "1", *flags)
    begun = time.monotonic()
    code, whole, said = run("evaluate", *MODEL, *same, "--db", os.path.join(scratch(), "a.db"), "--json")
    lasts = time.monotonic() - begun
    expect(code, 0, said)
    db = os.path.join(scratch(), "b.db")
    stopped = 0
    for attempt in range(40):
        process = subprocess.Popen([DARKMATTER, "evaluate", *MODEL, *same, "--db", db, "--json"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=ENVIRONMENT)
        time.sleep(lasts * (0.3 + 0.1 * attempt))  # by what a run takes here, not by the clock
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=SECONDS)
        if process.returncode == 0:
            break
        stopped += b"the same command goes on" in said
    expect(process.returncode, 0, said.decode()[-300:])
    expect(out.decode(), whole, "reports")
    if not stopped:
        raise AssertionError("no run was interrupted")

for arguments, word in (((*MODEL, "--source", "nothing", "--corpus", path), "nothing"),
                        ((*MODEL, "--source", "2", "--corpus", path), "neurons"),
                        ((*MODEL, "--corpus", "/nowhere/at.all"), "/nowhere/at.all"),
                        (("--model", FIXTURE, "--corpus", path), "--saes")):
    with check(f"{word.strip('-').replace('/', '_')}_is_refused_by_name"):
        code, _, said = run("evaluate", "--db", os.path.join(scratch(), "c.db"), *arguments)
        expect(code, 1, "exit code")
        expect_in(word, said)

finish()

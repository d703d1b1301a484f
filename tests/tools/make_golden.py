#!/usr/bin/env python3
"""make_golden.py > golden/gemma-2-demo.json: the numbers of the bundled demo as the reference of
tests/fixtures/oracle computes them (numpy, float64), in the format of golden/README.md. Only the
tokens come from darkmatter itself. Needs numpy and a built ./darkmatter."""

import json
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "fixtures", "oracle"))
import gemma_reference as ref  # noqa: E402
import lens_reference as lens  # noqa: E402

DEMO = os.path.join(ROOT, "demo")
PROMPT = "In the beginning God created the heaven and the"
MLP, RES = "2-gemmascope-mlp-2k", "3-gemmascope-res-2k"


def tokenize(*texts):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    done = subprocess.run([os.path.join(ROOT, "darkmatter"), "tokenize"], input=lines.encode(),
                          capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def vocabulary():
    with open(os.path.join(DEMO, "tokenizer.json"), encoding="utf-8") as file:
        data = json.load(file)
    names = {i: piece.replace("\u2581", " ") for piece, i in data["model"]["vocab"].items()}
    names.update({token["id"]: token["content"] for token in data["added_tokens"]})
    return names


def table(logits, names, with_logit=True, n=10):
    p = np.exp(logits - logits.max())
    p /= p.sum()
    ids = np.argsort(-logits, kind="stable")[:n]
    token = lambda i: names[i] if sum(v == names[i] for v in names.values()) == 1 else int(i)
    return [[token(i), *([round(float(logits[i]), 4)] if with_logit else []), round(float(p[i]), 5)]
            for i in ids]


def main():
    model = ref.Gemma(DEMO, np.float64)
    saes = lens.catalogue(DEMO, np.float64)
    names = vocabulary()
    tokens = tokenize(PROMPT)[0]
    ids = tokens["ids"]
    run = model.forward(ids)
    checks = [
        {"name": "tokens", "kind": "tokens", "prompt": PROMPT, "tokens": tokens["tokens"]},
        {"name": "next token", "kind": "next", "prompt": PROMPT,
         "top": table(run["logits"][-1], names)},
        {"name": "embed is resid_pre.0", "kind": "equal", "prompt": PROMPT,
         "points": ["embed", "resid_pre.0"]}]
    points = {"embed": run["embed"][-1], "resid_mid.0": run["resid_mid"][0][-1]}
    for layer in range(model.c.num_hidden_layers):
        points[f"resid_post.{layer}"] = run["resid_post"][layer][-1]
    checks.append({"name": "logit lens", "kind": "lens", "prompt": PROMPT, "points": {
        name: table(model.logit_lens(row[None])[0], names, False) for name, row in points.items()}})
    checks.append({"name": "mlp_out.2", "kind": "values", "prompt": PROMPT, "point": "mlp_out.2",
                   "rows": [{"position": t,
                             "first": [round(float(x), 5) for x in run["mlp_out"][2][t][:3]],
                             "last": [round(float(x), 5) for x in run["mlp_out"][2][t][-3:]]}
                            for t in range(len(ids))]})

    def edited(name, ops, edits, **more):
        out = model.forward(ids, lens.editor(ops, saes, np.float64))["logits"][-1]
        checks.append({"name": name, "kind": "next", "prompt": PROMPT, **more, "edits": edits,
                       "top": table(out, names)})

    largest = int(np.abs(run["mlp_out"][2][-1]).argmax())
    for value in (-40, 40):
        edited(f"neuron {largest} of mlp_out.2 held at {value}",
               [{"kind": "set_dim", "site": "mlp_out", "layer": 2, "dim": largest, "value": value}],
               [{"type": "set", "point": "mlp_out.2", "dim": largest, "value": value}])
    for source in (MLP, RES):
        sae = saes[source]
        acts = sae["d"].encode(lens.site_input(model, run, sae))
        l0 = str(sae["l0"])
        best = np.argsort(-acts[-1], kind="stable")[:10]
        checks.append({"name": f"features of {source}", "kind": "features", "prompt": PROMPT,
                       "source": source, "l0": l0,
                       "top": [[int(i), round(float(acts[-1][i]), 4)] for i in best if acts[-1][i] > 0]})
        feature = int(best[0])
        checks.append({"name": f"{source}/{feature} along the text", "kind": "feature",
                       "prompt": PROMPT, "source": source, "l0": l0, "index": feature,
                       "values": [[t, round(float(acts[t][feature]), 4)]
                                  for t in range(1, len(ids)) if acts[t][feature] > 0], "others": 0})
        edited(f"{source} put in place of its site",
               [{"kind": "splice", "source": source}],
               [{"type": "splice", "source": source}], source=source, l0=l0)
        for strength in (10, 50):
            edited(f"steered by {strength} times {source}/{feature}",
                   [{"kind": "add", "source": source, "feature": feature, "strength": strength,
                     "unit": False}],
                   [{"type": "add", "source": source, "index": feature, "strength": strength}],
                   source=source, l0=l0)
    new, _ = lens.generate(model, ids, 12)
    checks.append({"name": "greedy text", "kind": "generate", "prompt": PROMPT, "n_tokens": 12,
                   "text": "".join(names[i] for i in new)})
    write({"source": "the demo of this repository, by the numpy reference of tests/fixtures/oracle "
                     "in float64 (tests/tools/make_golden.py)",
           "model": "gemma-2-demo",
           "tolerance": {"logit": [0.001, 0], "probability": [0.00005, 0.001],
                         "value": [0.001, 0], "activation": [0.001, 0]},
           "checks": checks})


def write(golden):
    """A line for each table: readable, and diffs show what changed."""
    short = lambda value: json.dumps(value, ensure_ascii=False)
    print("{")
    for key in ("source", "model", "tolerance"):
        print(f' "{key}": {short(golden[key])},')
    print(' "checks": [')
    blocks = []
    for check in golden["checks"]:
        lines = []
        for key, value in check.items():
            if key == "points" and isinstance(value, dict):
                value = "{\n" + ",\n".join(f"    {short(p)}: {short(t)}" for p, t in value.items())
                lines.append(f'   "{key}": {value}}}')
            elif key == "rows":
                lines.append('   "rows": [\n' + ",\n".join(f"    {short(r)}" for r in value) + "]")
            else:
                lines.append(f'   "{key}": {short(value)}')
        blocks.append("  {\n" + ",\n".join(lines) + "\n  }")
    print(",\n".join(blocks))
    print(" ]\n}")


main()

"""A hub cache of gemma-2-2b and of gemma-scope-2b-pt-res as huggingface_hub lays them out, with the
real tokenizer, vocabulary, layers and SAE width, and small random weights."""

import hashlib
import json
import os
import shutil
import subprocess

from program import *

VIDEO = "The reliability of Wikipedia is very"
TOKENS = ["<bos>", "The", " reliability", " of", " Wikipedia", " is", " very"]
TOKENIZER = os.path.join(ROOT, "build", "npm", "gemma2", "tokenizer.json")
MAKE_WEIGHTS = os.path.join(ROOT, "build", "release", "tests", "tools", "make_weights")
SOURCE = "20-gemmascope-res-16k"
SAE = os.path.join("layer_20", "width_16k", "average_l0_71", "params.npz")
MODEL_COMMIT = "c5ebcd40d208330abc697524c919956e692655cf"
SAE_COMMIT = "fd571b47c1c64851e9b1989792367b9babb4af63"


class Cache:
    """models--ORG--NAME: the files lie in blobs/ under their hash, snapshots/COMMIT/ links to them,
    refs/main holds the commit."""

    def __init__(self, cache, repository, commit):
        self.folder = os.path.join(cache, "models--" + repository.replace("/", "--"))
        self.blobs = os.path.join(self.folder, "blobs")
        self.snapshot = os.path.join(self.folder, "snapshots", commit)
        os.makedirs(self.blobs)
        os.makedirs(os.path.join(self.folder, "refs"))
        with open(os.path.join(self.folder, "refs", "main"), "w", encoding="utf-8") as file:
            file.write(commit)

    def add(self, path, name):
        """Moves the file at path into the cache, as name; returns its blob."""
        with open(path, "rb") as file:
            blob = os.path.join(self.blobs, hashlib.file_digest(file, "sha256").hexdigest())
        shutil.move(path, blob)
        link = os.path.join(self.snapshot, name)
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(os.path.relpath(blob, os.path.dirname(link)), link)
        return blob


def weights(*arguments):
    subprocess.run([MAKE_WEIGHTS, *arguments], check=True)


def build_cache(folder, with_tokenizer):
    made = os.path.join(folder, "made")
    weights("model", made, "hidden=64", "ff=128", "head_dim=8", "shards=3")
    with open(os.path.join(made, "generation_config.json"), "w", encoding="utf-8") as file:
        json.dump({"_from_model_config": True, "bos_token_id": 2, "cache_implementation": "hybrid",
                   "eos_token_id": 1, "pad_token_id": 0, "transformers_version": "4.42.4"}, file)
    if with_tokenizer:
        shutil.copyfile(TOKENIZER, os.path.join(made, "tokenizer.json"))
    model = Cache(os.path.join(folder, "hub"), "google/gemma-2-2b", MODEL_COMMIT)
    blobs = {name: model.add(os.path.join(made, name), name) for name in sorted(os.listdir(made))}
    npz = os.path.join(made, "params.npz")
    weights("sae", npz, "d_in=64", "threshold=8")
    saes = Cache(os.path.join(folder, "hub"), "google/gemma-scope-2b-pt-res", SAE_COMMIT)
    blobs[SAE] = saes.add(npz, SAE)
    return model, saes, blobs


def video_ids():
    """The ids of the video's seven tokens, looked up in the vocabulary."""
    with open(TOKENIZER, encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab"]
    return [vocabulary[token.replace(" ", "\u2581")] for token in TOKENS]


def serves(model, saes, with_tokenizer):
    server = Server("--model", model.folder, "--saes", saes.folder)
    with check("the two cache folders serve as gemma-2-2b with the source of layer 20"):
        told = server.get("/v1/capabilities").json()
        expect(told["model"], "gemma-2-2b")
        expect(told["sources"], [SOURCE])
        expect((told["num_layers"], told["vocab_size"]), (26, 256000))
        expect((told["source_details"][0]["l0"], told["source_details"][0]["d_sae"]), ("71", 16384))
        expect(told["token_limit"], 1024)
    ids = video_ids() if with_tokenizer else [2, 100, 200, 300, 400, 500, 600]
    text = {"prompt": VIDEO} if with_tokenizer else {"tokens": ids}
    if with_tokenizer:
        with check("the video's prompt has its seven tokens"):
            reply = server.post("/v1/tokenize", {"text": VIDEO}).json()
            expect(reply["tokens"], ids)
            expect(reply["token_strings"], TOKENS)
    else:
        skip("the video's prompt has its seven tokens", "no " + os.path.relpath(TOKENIZER, ROOT))
    with check("features of layer 20 fire on random weights too"):
        reply = server.post("/v1/trace", {**text, "read": ["acts:" + SOURCE, "resid_post.20"]}).json()
        acts = reply["tensors"]["acts:" + SOURCE]
        expect(acts["shape"], [7, 16384])
        rows = [acts["data"][i * 16384:][:16384] for i in range(7)]
        active = [sum(value > 0 for value in row) for row in rows]
        expect(all(0 < l0 < 16384 for l0 in active), True, f"L0s {active}")
        strongest = max(range(16384), key=lambda index: rows[6][index])
    with check("activation/single of the strongest feature gives the trace's value"):
        reply = server.post("/v1/activation/single",
                            {**text, "source": SOURCE, "index": str(strongest)})
        expect((reply.status, reply.cache), (200, "miss"), reply.body)
        values = reply.json()["activation"]["values"]
        expect(len(values), 6)
        expect_close(values[-1], rows[6][strongest], 1e-3, "value at ' very'")
        if with_tokenizer:
            expect(reply.json()["tokens"], TOKENS[1:])
    with check("stops with exit code 0"):
        expect(server.stop(), 0)
    server = Server("--model", model.snapshot, "--saes", saes.snapshot, "--model-id", "gemma-2-2b")
    with check("the snapshots serve as well as the cache folders"):
        told = server.get("/v1/capabilities").json()
        expect((told["model"], told["sources"]), ("gemma-2-2b", [SOURCE]))
        server.stop()


def refused(sentence, model, saes, *parts):
    with check(sentence):
        code, _, said = run("serve", "--port", "0", "--db", os.path.join(scratch(), "new.db"),
                            "--model", model.folder, "--saes", saes.folder)
        expect(code, 1, said)
        for part in parts:
            expect_in(part, said)


def unfinished(model, saes, blobs):
    shard = "model-00002-of-00003.safetensors"
    link, blob = os.path.join(model.snapshot, shard), blobs[shard]
    os.rename(blob, blob + ".incomplete")
    refused("a link that leads nowhere is named, and the unfinished download behind it", model,
            saes, shard, "leads nowhere", os.path.basename(blob) + ".incomplete")
    os.remove(link)
    refused("a shard whose download is under way is named", model, saes, shard,
            os.path.basename(blob) + ".incomplete")
    os.remove(blob + ".incomplete")
    refused("a shard that was never fetched is named", model, saes, shard)


def broken_sae_link(model, saes, blobs):
    blob = blobs[SAE]
    os.rename(blob, blob + ".incomplete")
    server = Server("--model", model.folder, "--saes", saes.folder)
    with check("an SAE whose link leads nowhere is named, and the model serves without it"):
        told = server.get("/v1/capabilities").json()
        expect(told["sources"], [])
        expect([entry["path"] for entry in told["sources_left_out"]],
               [os.path.join(saes.snapshot, SAE)])
        expect_in(os.path.basename(blob), told["sources_left_out"][0]["reason"])
        expect_in("is not there", told["sources_left_out"][0]["reason"])
        expect_in("average_l0_71", server.stderr())
        server.stop()
    os.rename(blob + ".incomplete", blob)


here = scratch()
subprocess.run(["make", "-s", "-C", ROOT, os.path.relpath(MAKE_WEIGHTS, ROOT)], check=True,
               stdout=subprocess.DEVNULL, env={name: value for name, value in os.environ.items()
                                               if name not in ("MAKEFLAGS", "MFLAGS")})
real = os.path.exists(TOKENIZER)
cache = build_cache(here, real)
serves(*cache[:2], real)
broken_sae_link(*cache)
unfinished(*cache)
finish()

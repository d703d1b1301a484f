"""What darkmatter index made, counted again: an independent reader that starts from the activations'
blobs, laid out as docs/database.md says, and takes tokens, decoder rows and the unembedding from the
demo's own files. Nothing but Python's standard library."""

import bisect
import collections
import heapq
import io
import itertools
import json
import operator
import os
import struct
import zipfile

from program import DEMO, expect, expect_close

SPECIAL = {0, 1, 2}  # <pad>, <eos>, <bos>
BOS = 2
Place = collections.namedtuple("Place", "corpus document position text")
Source = collections.namedtuple("Source", "id name d_sae ids found tokens rows")


# --- the blobs ------------------------------------------------------------------------------------

def features(blob):
    numbers, number, shift, at = [], 0, 0, 0
    while not numbers or len(numbers) <= numbers[0]:
        number |= (blob[at] & 0x7F) << shift
        shift += 7
        if blob[at] < 0x80:
            numbers.append(number)
            number = shift = 0
        at += 1
    values = struct.unpack_from(f"<{numbers[0]}f", blob, at)
    return dict(zip(itertools.accumulate(numbers[1:]), values))


def histogram(blob, at=0):
    """(low, high, counts), or None."""
    bins, low, high = struct.unpack_from("<Iff", blob, at)
    expect(len(blob), at + 12 + 4 * bins, "bytes of a histogram")
    return (low, high, list(struct.unpack_from(f"<{bins}I", blob, at + 12))) if bins else None


def logits(blob):
    """(ids, values) of the largest, of the most negative, and the histogram."""
    return (struct.unpack_from("<10i", blob), struct.unpack_from("<10f", blob, 40),
            struct.unpack_from("<10i", blob, 80), struct.unpack_from("<10f", blob, 120),
            histogram(blob, 160))


# --- counting again -------------------------------------------------------------------------------

def recount(db, row, name, d_sae):
    """{feature: [(value, place)]} of all that counts, the number of tokens, and the rows by text."""
    places = collections.defaultdict(list)
    for corpus, number, text in db.execute(
            "SELECT d.corpus, d.number, d.text FROM document d JOIN indexed i ON i.corpus = d.corpus"
            " WHERE i.source = ? AND d.number < i.documents", (row,)):
        places[text].append((corpus, number))
    s = Source(row, name, d_sae, {}, collections.defaultdict(list), [0], {})
    for text, standing in places.items():
        ids = db.execute("SELECT ids FROM text WHERE id = ?", (text,)).fetchone()[0]
        ids = s.ids[text] = struct.unpack(f"<{len(ids) // 4}i", ids)
        blobs = db.execute("SELECT features FROM activation WHERE source = ? AND text = ?"
                           " ORDER BY position", (row, text)).fetchall()
        rows = s.rows[text] = [features(blob) for (blob,) in blobs]
        expect(len(rows), len(ids), "rows of a text")
        for position, token in enumerate(ids):
            if token in SPECIAL:
                continue
            s.tokens[0] += len(standing)
            for feature, value in rows[position].items():
                for corpus, number in standing:
                    s.found[feature].append((value, Place(corpus, number, position, text)))
    return s


def binned(values):
    low, high = min(values), max(values)
    if low == high:
        return None
    counts = [0] * 50
    for value in values:
        counts[min(49, int((value - low) / (high - low) * 50))] += 1
    return low, high, counts


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def top_of(found):
    return heapq.nsmallest(20, found, key=lambda e: (-e[0], e[1][:3]))


def intervals(found, tokens):
    """From the lowest up: (edge below, edge above, active positions between, share of all tokens)."""
    values = [value for value, _ in found]
    edges = [max(values) * i / 5 for i in range(5)] + [max(values)]
    active = [0] * 5
    for value in values:
        active[min(4, bisect.bisect_left(edges, value, 1) - 1)] += 1
    return [(edges[i], edges[i + 1], active[i],
             (active[i] + (tokens - len(values) if i == 0 else 0)) / tokens) for i in range(5)]


# --- the database ---------------------------------------------------------------------------------

def check_examples(db, s, feature):
    top, between = top_of(s.found[feature]), intervals(s.found[feature], s.tokens[0])
    seen = {place: value for value, place in s.found[feature]}
    parts = collections.Counter()
    for (part, place, text, corpus, document, position, value, low, high, contains, along) in \
            db.execute("SELECT part, place, text, corpus, document, position, value, bin_min,"
                       " bin_max, bin_contains, along FROM dashboard JOIN example USING (build)"
                       " WHERE source = ? AND number = ? ORDER BY part, place", (s.id, feature)):
        where = Place(corpus, document, position, text)
        expect(place, parts[part], f"place in part {part}")
        parts[part] += 1
        expect(seen[where], value, "value of an example")
        expect(features(along), {p: row[feature] for p, row in enumerate(s.rows[text])
                                 if feature in row}, "values along the text")
        if part == 0:
            expect((value, where), top[place], "top activation")
            expect((low, contains), (-1, -1), "bin of a top activation")
            continue
        below, above, _, share = between[5 - part]
        expect((low, high), (float32(below), float32(above)), "borders of an interval")
        expect(below < value <= above, True, "value within its interval")
        expect(contains, share, "share of an interval")
    expect(parts[0], len(top), "top activations")
    for i in range(5):
        expect(parts[5 - i], min(5, between[i][2]), f"samples of interval {i}")


def check_source(db, s, examples_of):
    documents, said, counts, maxima = db.execute(
        "SELECT documents, tokens, counts, maxima FROM dashboard WHERE source = ?",
        (s.id,)).fetchone()
    expect(said, s.tokens[0], "tokens")
    expect(documents, db.execute("SELECT sum(documents) FROM indexed WHERE source = ?",
                                 (s.id,)).fetchone()[0], "documents")
    expect(said, db.execute("SELECT sum(tokens) FROM indexed WHERE source = ?",
                            (s.id,)).fetchone()[0], "tokens behind the marks")
    expect(list(struct.unpack(f"<{s.d_sae}I", counts)),
           [len(s.found[i]) for i in range(s.d_sae)], "counts")
    largest = [max((value for value, _ in s.found[i]), default=0.0) for i in range(s.d_sae)]
    expect(list(struct.unpack(f"<{s.d_sae}f", maxima)), largest, "maxima")
    kept = db.execute("SELECT number, count, maximum, statistic FROM dashboard"
                      " JOIN feature USING (build) WHERE source = ? ORDER BY number",
                      (s.id,)).fetchall()
    expect(len(kept), s.d_sae, "features")
    for number, count, maximum, statistic in kept:
        values = [value for value, _ in s.found[number]]
        expect((count, maximum), (len(values), largest[number]), f"feature {number}")
        expect(histogram(statistic), binned(values) if values else None, f"histogram of {number}")
        if values and number % examples_of == 0:
            check_examples(db, s, number)


# --- the model's own files ------------------------------------------------------------------------

def token_texts():
    """As lists of tokens show them: a space for its sign; bytes as the text they are by themselves."""
    def shown(piece):
        if piece.startswith("<0x") and len(piece) == 6:
            return bytes([int(piece[3:5], 16)]).decode(errors="replace")
        return piece.replace("\u2581", " ")
    with open(os.path.join(DEMO, "tokenizer.json"), encoding="utf-8") as file:
        return {number: shown(piece)
                for piece, number in json.load(file)["model"]["vocab"].items()}


def tensor(name):
    """The rows of a matrix of the model, BF16 widened."""
    with open(os.path.join(DEMO, "model.safetensors"), "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        described = json.loads(file.read(size))[name]
        begin, end = described["data_offsets"]
        file.seek(8 + size + begin)
        halves = struct.unpack(f"<{(end - begin) // 2}H", file.read(end - begin))
    expect(described["dtype"], "BF16", f"type of {name}")
    numbers = struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I",
                                                           *(half << 16 for half in halves)))
    width = described["shape"][1]
    return [numbers[i:i + width] for i in range(0, len(numbers), width)]


def decoder_rows(folder, numbers):
    """Rows of W_dec of one of the demo's SAEs."""
    path = os.path.join(DEMO, "saes", folder, "params.npz")
    with zipfile.ZipFile(path) as archive, archive.open("W_dec.npy") as file:
        array = io.BytesIO(file.read())
    magic = array.read(10)
    header = array.read(struct.unpack("<H", magic[8:])[0]).decode()
    width = int(header[header.index("(") + 1:header.index(")")].split(",")[1])
    start, rows = array.tell(), []
    for number in numbers:
        array.seek(start + 4 * width * number)
        rows.append(struct.unpack(f"<{width}f", array.read(4 * width)))
    return rows


def times(matrix, vector):
    return [sum(map(operator.mul, row, vector)) for row in matrix]


def check_logits(db, s, folder, numbers):
    """What features promote, from the weights: the embedding, which is the unembedding too, times
    W_dec; from heads by way of o_proj."""
    embedding = tensor("model.embed_tokens.weight")
    heads = tensor("model.layers.2.self_attn.o_proj.weight") if "-att-" in s.name else None
    for number, row in zip(numbers, decoder_rows(folder, numbers)):
        blob, = db.execute("SELECT logits FROM feature_logits WHERE source = ? AND number = ?",
                           (s.id, number)).fetchone()
        highest, high, lowest, low, bins = logits(blob)
        every = times(embedding, times(heads, row) if heads else row)
        falling = sorted(range(len(every)), key=lambda i: -every[i])
        for ids, values, expected in [(highest, high, falling[:10]),
                                      (lowest, low, falling[::-1][:10])]:
            expect(ids, tuple(expected), f"tokens of feature {number}")
            for value, i in zip(values, expected):
                expect_close(value, every[i], 1e-5, f"logit of feature {number}")
        expect_close(bins[0], min(every), 1e-5, "least logit")
        expect_close(bins[1], max(every), 1e-5, "largest logit")
        expect(sum(bins[2]), len(every), "tokens in the histogram of logits")


# --- the API --------------------------------------------------------------------------------------

def middles(bins):
    """(middles of the bins, rounded; what they hold) as replies give them."""
    if not bins:
        return [], []
    low, high, counts = bins
    return [round(low + (high - low) / 50 * (i + 0.5), 5) for i in range(50)], counts


def check_examples_of_api(s, number, activations, texts, samples):
    """Top activations by the recount; of the intervals it says everything but which were drawn,
    which the rows of example do."""
    between, expected = intervals(s.found[number], s.tokens[0]), []
    top = [(0, place, value, where) for place, (value, where) in enumerate(top_of(s.found[number]))]
    for part, place, value, where in top + samples:
        begins = 1 if s.ids[where.text][0] == BOS else 0
        shown = [0 if token in SPECIAL else row.get(number, 0)
                 for token, row in zip(s.ids[where.text], s.rows[where.text])][begins:]
        below, above, _, share = between[5 - part] if part else (-1, between[4][1], 0, -1)
        expected.append((-max(shown), part, place, {
            "tokens": [texts[token] for token in s.ids[where.text][begins:]],
            "values": [round(value, 5) for value in shown],
            "maxValue": round(max(shown), 5), "minValue": round(min(shown), 5),
            "maxValueTokenIndex": shown.index(max(shown)),
            "qualifyingTokenIndex": where.position - begins, "dataIndex": str(where.document),
            "binMin": round(float32(below), 5), "binMax": round(float32(above), 5),
            "binContains": share, "index": str(number), "layer": s.name, "dataSource": "demo-corpus.jsonl"}))
    expect(len(activations), len(expected), f"activations of {number}")
    for found, (_, part, place, fields) in zip(activations, sorted(expected, key=lambda e: e[:3])):
        for key, value in fields.items():
            expect(found[key], value, f"feature {number}, part {part}, place {place}: {key}")


def check_feature_of_api(db, s, number, reply, texts):
    values = [value for value, _ in s.found[number]]
    largest = max(values, default=0)
    blob, = db.execute("SELECT logits FROM feature_logits WHERE source = ? AND number = ?",
                       (s.id, number)).fetchone()
    highest, high, lowest, low, bins = logits(blob)
    frequency, written = middles(binned(values) if values else None), middles(bins)
    for key, expected in {
            "index": str(number), "layer": s.name, "indexed": True, "origin": "here",
            "count": len(values), "maxActApprox": round(largest, 5),
            "frac_nonzero": round(len(values) / s.tokens[0], 5),
            "freq_hist_data_bar_values": frequency[0], "freq_hist_data_bar_heights": frequency[1],
            "logits_hist_data_bar_values": written[0], "logits_hist_data_bar_heights": written[1],
            "pos_str": [texts[token] for token in highest],
            "pos_values": [round(value, 5) for value in high],
            "neg_str": [texts[token] for token in lowest],
            "neg_values": [round(value, 5) for value in low]}.items():
        expect(reply[key], expected, f"feature {number}: {key}")
    samples = [(part, place, value, Place(*where)) for part, place, value, *where in db.execute(
        "SELECT part, place, value, corpus, document, position, text FROM dashboard"
        " JOIN example USING (build) WHERE source = ? AND number = ? AND part > 0", (s.id, number))]
    if values:
        check_examples_of_api(s, number, reply["activations"], texts, samples)
    else:
        expect(reply["activations"], [], f"activations of {number}")


def check_api(db, s, server, texts, numbers):
    """Each feature by itself; those of /api/features and /api/activation/get have to say the same."""
    for number in numbers:
        reply = server.get(f"/api/feature/gemma-2-demo/{s.name}/{number}")
        expect(reply.status, 200, f"status of feature {number}")
        check_feature_of_api(db, s, number, reply.json(), texts)
    alone = reply.json()
    several = server.post("/api/features", [{"modelId": "gemma-2-demo", "layer": s.name,
                                             "index": number}]).json()[0]
    expect(several, {key: alone[key] for key in several}, "the same of /api/features")
    page = server.post("/api/features-offset", {"modelId": "gemma-2-demo", "layer": s.name,
                                                "offset": number}).json()[0]
    expect(page, several, "the same of /api/features-offset")
    rows = server.post("/api/activation/get", {"modelId": "gemma-2-demo", "source": s.name,
                                               "index": str(number)}).json()
    expect(rows, alone["activations"], "the same of /api/activation/get")

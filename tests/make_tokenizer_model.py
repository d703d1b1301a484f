#!/usr/bin/env python3
"""Write a SentencePiece tokenizer.model with the pieces of a Gemma tokenizer.json.

  make_tokenizer_model.py TOKENIZER.JSON TOKENIZER.MODEL

Gemma's own tokenizer.model cannot be had without an account. This one has the same pieces under the
same ids, the types that the added tokens tell, and as scores minus the place, from 0, in the order in
which the merges first give a piece, which is how SentencePiece's trainer numbers normal pieces; all
others have 0. Tokens beyond the vocabulary (<image_soft_token> of Gemma 3)
have no place in a .model. The merges themselves are not copied: a reader has to find them again.
"""
import json
import struct
import sys

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def main(source, target):
    with open(source, encoding="utf-8") as f:
        tokenizer = json.load(f)
    vocab = tokenizer["model"]["vocab"]
    added = {a["content"] for a in tokenizer["added_tokens"]}
    order = {}
    for merge in tokenizer["model"]["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left + right not in added:
            order.setdefault(left + right, len(order))
    out = bytearray()
    pieces = sorted(vocab, key=vocab.get)
    assert [vocab[p] for p in pieces] == list(range(len(pieces))), "ids with gaps"
    for piece in pieces:
        kind, score = NORMAL, -float(order.get(piece, len(order) + vocab[piece]))
        if piece in ("<pad>", "<eos>", "<bos>"):
            kind = CONTROL
        elif piece == "<unk>":
            kind = UNKNOWN
        elif piece in added:
            kind = USER_DEFINED
        elif len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            kind = BYTE
        elif piece == "\t" and "<0x09>" not in vocab:  # Gemma 2: renamed by the conversion to json
            piece, kind = "<0x09>", BYTE
        if kind != NORMAL:
            score = 0.0
        out += block(1, block(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + number(3, kind))
    out += block(2, number(3, 2) + number(35, 1) + number(40, 3) + number(41, 2) + number(42, 1))
    out += block(3, block(1, b"identity") + block(2, b"") + number(3, 0) + number(4, 0))
    with open(target, "wb") as f:
        f.write(out)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Properties over random values, with another program on the other side: files of tensors that numpy
writes are read back bit for bit, and what the JSON writer writes is JSON with the same values in it."""

import json
import math
import os
import random
import struct
import subprocess

from program import *

try:
    import numpy
except ImportError:
    numpy = None

TOOLS = os.path.join("build", "release", "tests", "tools")
READ, WRITE = os.path.join(TOOLS, "read_tensors"), os.path.join(TOOLS, "write_json")
FILES, DOCUMENTS = 150, 5000
SAFETENSORS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "I32": "<i4", "I64": "<i8",
               "U8": "|u1"}


def build():
    subprocess.run(["make", "-s", "-C", ROOT, READ, WRITE], check=True, stdout=subprocess.DEVNULL,
                   env={name: value for name, value in os.environ.items()
                        if name not in ("MAKEFLAGS", "MFLAGS")})


# --- tensors -------------------------------------------------------------------------------------

def read(path):
    """{name: (dtype, shape, bytes)} as core/formats has it; a string is what it says against it."""
    done = subprocess.run([os.path.join(ROOT, READ), path], capture_output=True, check=False)
    if done.returncode:
        return done.stderr.decode().strip()
    found, rest = {}, done.stdout
    while rest:
        line, rest = rest.split(b"\n", 1)
        name, dtype, size, *shape = line.decode().split(" ")
        found[name] = (dtype, tuple(map(int, shape)), rest[:int(size)])
        rest = rest[int(size):]
    return found


def some_array(dtype, order="C"):
    """Random bits of a random shape: any NaN, infinity and denormal number."""
    shape = tuple(random.choice((1, 1, 2, 3, 5, 8, 17, 64)) for _ in range(random.randrange(1, 5)))
    size = math.prod(shape) * numpy.dtype(dtype).itemsize
    array = numpy.frombuffer(random.randbytes(size), dtype=dtype).reshape(shape)
    return numpy.asarray(array, order=order if len(shape) < 3 else "C")


def npz_files(folder):
    for i in range(FILES):
        arrays = {f"{random.choice(('W_enc', 'b', 'threshold'))}_{k}":
                  some_array(random.choice(("<f4", "<f4", "<f2", "<f8")), random.choice("CF"))
                  for k in range(random.randrange(1, 6))}
        path = os.path.join(folder, f"{i}.npz")
        random.choice((numpy.savez, numpy.savez_compressed))(path, **arrays)
        found = read(path)
        if isinstance(found, str):
            raise AssertionError(found)
        expect(list(found), list(arrays))
        for name, array in arrays.items():
            narrowed = array.dtype == numpy.dtype("<f8")
            with numpy.errstate(over="ignore", invalid="ignore"):
                expected = array.astype("<f4") if narrowed else array
            dtype, shape, data = found[name]
            expect((dtype, shape), ("F16" if array.dtype == numpy.dtype("<f2") else "F32", array.shape))
            if data != numpy.ascontiguousarray(expected).tobytes():
                raise AssertionError(f"{path}: {name} of {array.dtype}, {array.shape}, fortran "
                                     f"{array.flags.f_contiguous}: other bytes")
        os.remove(path)


def write_safetensors(path, tensors, metadata):
    """The format in a few lines: length of the header, header, bytes."""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    names = list(header)
    random.shuffle(names)
    text = json.dumps({name: header[name] for name in names}).encode()
    text += b" " * random.choice((0, -len(text) % 8))
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in tensors.values():
            file.write(array.tobytes())


def safetensors_files(folder):
    path = os.path.join(folder, "x.safetensors")
    for _ in range(FILES):
        tensors = {}
        for k in range(random.randrange(1, 9)):
            dtype = random.choice(list(SAFETENSORS))
            tensors[f"model.layers.{k}.w"] = (dtype, some_array(SAFETENSORS[dtype]))
        write_safetensors(path, tensors, random.choice((None, {"format": "pt", "é": "\u2028\""})))
        found = read(path)
        if isinstance(found, str):
            raise AssertionError(found)
        expect(sorted(found), sorted(tensors))
        for name, (dtype, array) in tensors.items():
            expect(found[name][:2], (dtype, array.shape), name)
            expect(found[name][2] == array.tobytes(), True, f"bytes of {name}")


def tensors():
    names = ("npz files that numpy writes, of any order and compression, are read back bit for bit",
             "safetensors files of any type and order of names are read back bit for bit",
             "what numpy can write and darkmatter cannot read is refused in one line, with its name")
    if numpy is None:
        for name in names:
            skip(name, "numpy is not installed")
        return
    folder = scratch()
    with check(names[0]):
        npz_files(folder)
    with check(names[1]):
        safetensors_files(folder)
    with check(names[2]):
        path = os.path.join(folder, "odd.npz")
        for array in (some_array(">f4"), some_array("<i4"), some_array("<c8"),
                      numpy.zeros((1, 1, 1, 1, 1), "<f4"), numpy.array(["text"]),
                      numpy.zeros((2, 3, 4), "<f4", order="F")):
            numpy.savez(path, odd_one=array)
            found = read(path)
            expect(isinstance(found, str), True, str(found)[:80])
            expect_in("odd_one", found)
            expect(len(found.splitlines()), 1)


# --- JSON ----------------------------------------------------------------------------------------

def refuse_constant(text):
    raise AssertionError(f"{text} is no JSON")


def leaves_of(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves_of(inner)
    elif value[0] == "list":
        for inner in value[1:]:
            yield from leaves_of(inner)
    else:
        yield value


def check_leaf(kind, found, given):
    if kind == "string":
        expect(found, bytes.fromhex(given).decode("utf-8", "replace") if valid(given) else found)
        if not valid(given):
            expect("\ufffd" in found, True, given)
        return
    bits = int(given)
    if kind in ("float", "double", "rounded"):
        value = (struct.unpack("<f", struct.pack("<I", bits)) if kind == "float"
                 else struct.unpack("<d", struct.pack("<Q", bits)))[0]
        if not math.isfinite(value):
            expect(found, None)
        elif kind == "float":
            expect(struct.pack("<f", found), struct.pack("<f", value), f"float {value}")
        else:
            expect(found, round(value, 3) if kind == "rounded" else value, kind)
    elif kind == "int":
        expect(found, bits - (1 << 64) if bits >> 63 else bits)
    else:
        expect(found, bool(bits) if kind == "bool" else None)


def valid(given):
    try:
        bytes.fromhex(given).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def documents():
    with check(f"{DOCUMENTS} random documents are valid JSON in valid UTF-8, with the values that went in"):
        seed = random.randrange(1 << 32)
        done = subprocess.run([os.path.join(ROOT, WRITE), str(seed), str(DOCUMENTS)], capture_output=True,
                              check=True)
        lines = done.stdout.decode("utf-8").split("\n")[:-1]
        expect(len(lines), DOCUMENTS)
        kinds = set()
        for line in lines:
            document, given = json.loads(line, parse_constant=refuse_constant)
            leaves = list(leaves_of(document))
            expect(len(leaves), len(given), f"leaves, seed {seed}")
            for (kind, found), what in zip(leaves, given):
                kinds.add(kind)
                check_leaf(kind, found, what)
        expect(kinds, {"float", "double", "rounded", "int", "bool", "null", "string"})


build()
random.seed(os.environ.get("SEED", "6"))
tensors()
documents()
finish()

#!/usr/bin/env python3
"""Runs the examples of the documentation against a server and compares their answers.

    check_docs.py BASE_URL PROGRAM

An example is a ```sh block with a curl command, or a ```python block, that asks localhost:5002; the
next block is its answer: ```json is compared as JSON, ```text line by line. Conventions:
  - "..." as an element of an array stands for any number of elements, "...": "..." in an object for
    any number of keys, a line "..." in a text for any number of lines;
  - the camelCase twin of a key (sourceSet beside source_set) is left out of the page; the server
    must send it all the same, with the same value (but for the lens, whose frames have none);
  - numbers may differ by 1e-4 of the largest of their list, or by one in the last decimal that is
    written: another processor sums in another order.
"""
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

CUT = "..."
PAGES = ("docs/api.md", "docs/dark-matter.md", "README.md")
passed = failed = 0


def check(name, problem):
    global passed, failed
    if problem:
        failed += 1
        print(f"  FAILED  {name.replace(' ', '_')}: {problem}")
    else:
        passed += 1
        print(f"  ok      {name.replace(' ', '_')}")


class Decimal(float):
    """A number of the page, with the size of one unit of its last written decimal."""

    def __new__(cls, text):
        number = super().__new__(cls, text)
        digits, _, exponent = text.lower().partition("e")
        decimals = len(digits.partition(".")[2])
        number.unit = 10.0 ** (int(exponent or 0) - decimals)
        return number


def camel(name):
    return re.sub(r"_(.)", lambda m: m.group(1).upper(), name)


def without_twins(value, where="answer"):
    """The answer without the camelCase spellings; ValueError where one is missing or differs."""
    if isinstance(value, list):
        return [without_twins(item, where) for item in value]
    if not isinstance(value, dict):
        return value
    twins = {camel(key): key for key in value if camel(key) != key}
    for twin, key in twins.items():
        if twin in value and value[twin] != value[key]:
            raise ValueError(f"{where}: {key} and {twin} differ")
    return {key: without_twins(item, f"{where}.{key}")
            for key, item in value.items() if key not in twins}


def twins_missing(value):
    """Every key of /v1 of more than one word that stands alone (capabilities' endpoints aside)."""
    if isinstance(value, list):
        return {key for item in value for key in twins_missing(item)}
    if not isinstance(value, dict):
        return set()
    missing = {key for key in value if re.fullmatch(r"[a-z]+(_[a-z]+)+", key) and
               camel(key) not in value}
    for key, item in value.items():
        if key not in ("endpoints", "tensors"):
            missing |= twins_missing(item)
    return missing


def compare_arrays(wanted, found, where):
    if CUT not in wanted:
        if len(wanted) != len(found):
            return f"{where}: expected {len(wanted)} elements, found {len(found)}"
        head, tail = wanted, []
    else:
        at = wanted.index(CUT)
        head, tail = wanted[:at], wanted[at + 1:]
        if len(found) < len(head) + len(tail):
            return f"{where}: expected at least {len(head) + len(tail)} elements, found {len(found)}"
    last = len(found) - len(tail)
    scale = max((abs(v) for v in head + tail if isinstance(v, (int, float))), default=0.0)
    pairs = list(zip(head, found)) + list(zip(tail, found[last:]))
    for i, (one, other) in enumerate(pairs):
        problem = compare(one, other, f"{where}[{i}]", scale)
        if problem:
            return problem
    return ""


def compare(wanted, found, where="answer", scale=0.0):
    """What is different, or ""."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        extra = set(found) - set(wanted)
        if extra and CUT not in wanted:
            return f"{where}: the page lacks {', '.join(sorted(extra))}"
        for key in wanted:
            if key == CUT:
                continue
            if key not in found:
                return f"{where}: the answer lacks {key}"
            problem = compare(wanted[key], found[key], f"{where}.{key}")
            if problem:
                return problem
        return ""
    if isinstance(wanted, list) and isinstance(found, list):
        return compare_arrays(wanted, found, where)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (wanted, found))
    if numbers and (isinstance(wanted, float) or isinstance(found, float)):
        unit = getattr(wanted, "unit", 0.0)
        near = math.isclose(wanted, found, rel_tol=1e-4, abs_tol=max(1e-4 * scale, 1.01 * unit))
        return "" if near else f"{where}: the page says {float(wanted)!r}, the server {found!r}"
    if type(wanted) is type(found) and wanted == found:
        return ""
    return f"{where}: the page says {wanted!r}, the server {found!r}"


def compare_text(wanted, found):
    pattern = "".join(r"(?:.*\n)*?" if line == CUT else re.escape(line) + r"\n"
                      for line in wanted.splitlines())
    return "" if re.fullmatch(pattern, found) else f"expected\n{wanted}found\n{found}"


def blocks(page):
    """(heading, language, text) of every fenced block, in order."""
    heading, language, lines = "", None, []
    with open(page, encoding="utf-8") as file:
        for line in file:
            if language is None and line.startswith("#"):
                heading = line.strip("# \n")
            fence = re.match(r"```(\w*)$", line.rstrip())
            if not fence:
                lines.append(line)
            elif language is None:
                language, lines = fence.group(1), []
            else:
                yield heading, language, "".join(lines)
                language = None


def examples(page):
    """(name, language, command, language of the answer, answer); an answer may be missing."""
    found = list(blocks(page))
    count = {}
    for i, (heading, language, text) in enumerate(found):
        asks = language == "sh" and re.search(r"\bcurl\b.*localhost:5002", text, re.S)
        if not asks and not (language == "python" and "localhost:5002" in text):
            continue
        count[heading] = count.get(heading, 0) + 1
        following = found[i + 1] if i + 1 < len(found) else (None, "", "")
        kind = following[1] if following[0] == heading else ""
        yield (f"{os.path.basename(page)}, {heading}, {language} {count[heading]}", language, text,
               kind, following[2])


def run(language, text, port):
    command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command + [text.replace("localhost:5002", f"localhost:{port}")],
                              cwd=folder, capture_output=True, encoding="utf-8", timeout=60, check=False)
    if done.returncode:
        raise ValueError(f"exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def problem_of(language, text, kind, answer, port):
    if kind not in ("json", "text"):
        return "no ```json or ```text block with the answer follows"
    try:
        found = run(language, text, port)
        if kind == "text":
            return compare_text(answer, found)
        sent = json.loads(found)
        if "/v1/" in text and "/v1/lens/" not in text and twins_missing(sent):
            return "no camelCase twin of " + ", ".join(sorted(twins_missing(sent)))
        return compare(json.loads(answer, parse_float=Decimal), without_twins(sent))
    except (ValueError, OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def bodies(text):
    """The JSON that the curl commands of a block send."""
    for body in re.findall(r"-d\s+'([^']*)'", text):
        try:
            yield json.loads(body)
        except ValueError:
            pass


def check_routes(base):
    """Every route of /v1 and of the server itself has a section in api.md with its example, every
    section's route is served, and every route of the web API stands in api-web.md."""
    with urllib.request.urlopen(base + "/openapi.json") as reply:
        paths = json.load(reply)["paths"]
    served = {f"{method.upper()} {path}": operation
              for path, operations in paths.items() for method, operation in operations.items()}
    sent = {}
    headings = set()
    with open("docs/api.md", encoding="utf-8") as file:
        for line in file:
            match = re.match(r"#+ ((?:GET|POST|PUT|DELETE|PATCH) /\S*)$", line.rstrip())
            if match:
                headings.add(match.group(1))
    for heading, _, text in blocks("docs/api.md"):
        sent.setdefault(heading, []).extend(bodies(text))
    with open("docs/api-web.md", encoding="utf-8") as file:
        named = set(re.findall(r"`((?:GET|POST|PUT|DELETE|PATCH) /\S*?)`", file.read()))
    for route in sorted(named):
        check(f"{route} of api-web.md is served", "" if route in served else "no such route")
    for route, operation in served.items():
        if " /api/" in route and route not in headings:
            check(f"api-web.md names {route}", "" if route in named else "it does not")
            continue
        check(f"api.md has the section {route}",
              "" if route in headings else "there is none")
        if "requestBody" in operation:
            example = operation["requestBody"]["content"]["application/json"]["example"]
            check(f"api.md sends the example of {route}",
                  "" if example in sent.get(route, []) else f"expected {json.dumps(example)}")
    for heading in sorted(headings):
        check(f"{heading} is served", "" if heading in served else "no such route")


def check_flags(program):
    """Every flag of the program stands in operations.md, and none that it does not have."""
    shown = subprocess.run([program, "serve", "--help"], capture_output=True, text=True, check=True)
    flags = set(re.findall(r"^  (--[a-z-]+)", shown.stdout, re.M))
    with open("docs/operations.md", encoding="utf-8") as file:
        rows = set(re.findall(r"^\| `(--[a-z-]+)", file.read(), re.M))
    check("operations.md lists the flags of serve",
          "" if flags and flags == rows else
          f"missing {sorted(flags - rows)}, unknown {sorted(rows - flags)}")


def check_names():
    """The points that can be read and the fields of config.json that are, in the pages about them."""
    with open("core/gemma/point.c", encoding="utf-8") as file:
        points = re.findall(r'^    \[POINT_\w+\] = "(\w+)"', file.read(), re.M)
    with open("core/gemma/config.c", encoding="utf-8") as file:
        source = file.read()
    fields = set(re.findall(r'(?:whole|real|softcap|token_id)\(&?r, "(\w+)"', source))
    fields |= set(re.findall(r'json_get\((?:r->object|r\.object|root|outer), "(\w+)"', source))
    with open("docs/api.md", encoding="utf-8") as file:
        api = set(re.findall(r"^\| `(\w+)(?:\.L)?` \| \[", file.read(), re.M))
    with open("docs/model.md", encoding="utf-8") as file:
        model = set(re.findall(r"`(\w+)`", file.read()))
    check("api.md lists every point",
          "" if points and api == set(points) else f"differ: {sorted(api ^ set(points))}")
    check("model.md says where every point is",
          "" if set(points) <= model else f"missing {sorted(set(points) - model)}")
    check("model.md lists the fields of config.json",
          "" if fields and fields <= model else f"missing {sorted(fields - model)}")


def check_links():
    """Files that the pages point at are there."""
    for page in ("README.md", "docs/api.md", "docs/api-web.md", "docs/dark-matter.md", "docs/database.md",
                 "docs/model.md", "docs/operations.md"):
        if not os.path.exists(page):
            continue
        with open(page, encoding="utf-8") as file:
            targets = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:]+)\)", file.read())
        gone = [t for t in targets
                if not os.path.exists(os.path.join(os.path.dirname(page), t))]
        check(f"the links of {page} lead somewhere", f"not {', '.join(gone)}" if gone else "")


def main():
    base, program = sys.argv[1:]
    port = base.rsplit(":", 1)[1]
    for page in PAGES:
        if not os.path.exists(page):
            continue
        n = 0
        for name, language, text, kind, answer in examples(page):
            check(name, problem_of(language, text, kind, answer, port))
            n += 1
        check(f"{page} has examples", "" if n else "none was found")
    check_routes(base)
    check_flags(program)
    check_names()
    check_links()
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

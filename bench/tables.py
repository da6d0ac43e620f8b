"""Writes the tables of docs/performance.md, between its markers, from what `bench/run` measured.

usage: tables.py CRITERION-FOLDER FOLDER-OF-COMPARISONS

A table whose figures are not there stays as it is.
"""

import json
import pathlib
import sys

from chart import draw

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
RESULTS = ROOT / "bench/results"


def measured(criterion):
    """Every benchmark: its names, its work, and its best sample in seconds a call."""
    benchmarks = []
    for file in sorted(criterion.glob("**/new/benchmark.json")):
        about = json.loads(file.read_text())
        sample = json.loads((file.parent / "sample.json").read_text())
        times = [time / calls for time, calls in zip(sample["times"], sample["iters"])]
        work = about["throughput"]
        both = work.get("ElementsAndBytes", {})
        benchmarks.append({
            "group": about["group_id"],
            "name": about["function_id"],
            "rows": int(about["value_str"]) if about["value_str"] else None,
            "elements": both.get("elements", work.get("Elements", 0)),
            "bytes": both.get("bytes", work.get("Bytes", 0)),
            # the least: what disturbs a measurement only ever adds to it
            "seconds": min(times) / 1e9,
        })
    return benchmarks


def per_second(benchmark, what):
    """Thousand million elements or bytes a second."""
    return benchmark[what] / benchmark["seconds"] / 1e9


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def of_group(benchmarks, group):
    return [benchmark for benchmark in benchmarks if benchmark["group"] == group]


def ceilings(benchmarks):
    rows = []
    for benchmark in of_group(benchmarks, "peak"):
        figure = f"{per_second(benchmark, 'elements'):.0f} GMAC/s"
        rows.append([f"8-bit products, {benchmark['name'].replace('/', ', ')}", figure])
    for benchmark in of_group(benchmarks, "memory"):
        figure = f"{per_second(benchmark, 'bytes'):.1f} GB/s"
        rows.append([f"memory, 97 MB, {benchmark['name'].replace('/', ', ')}", figure])
    return table(["what", "at most"], rows)


def peak(benchmarks):
    """Of one core; `None` where the processor has no path that was measured."""
    ones = [one for one in of_group(benchmarks, "peak") if one["name"].endswith("threads 1")]
    return max((per_second(one, "elements") for one in ones), default=None)


def by_rows(benchmarks, group, unit, of=None):
    """One line for each name, one column for each number of rows; `of` is what 100 % is."""
    ours = of_group(benchmarks, group)
    columns = sorted({benchmark["rows"] for benchmark in ours})
    lines = []
    for name in dict.fromkeys(benchmark["name"] for benchmark in ours):
        cells = []
        for rows in columns:
            found = [one for one in ours if (one["name"], one["rows"]) == (name, rows)]
            value = per_second(found[0], "elements") if found else None
            share = f" ({100 * value / of:.0f} %)" if found and of else ""
            cells.append("-" if value is None else f"{value:.1f}{share}")
        lines.append([name, *cells])
    return table([unit, *(f"M = {rows}" for rows in columns)], lines)


def whole_model(benchmarks):
    """Some lines for each count of threads; a roof is what products or memory allow, the lower.

    There are two roofs: one of bare products, and one of products with the work that the weights' kind
    asks for beside them.
    """
    ours = of_group(benchmarks, "SmolLM2 products")
    limits = {}
    for group, what in (("peak", "elements"), ("memory", "bytes")):
        for one in of_group(benchmarks, group):
            loop, threads = one["name"].split("/")
            roof = "with scales" if loop.endswith("Q4_1") else group
            limits[roof, threads] = per_second(one, what)
    lines = []
    for name in dict.fromkeys(one["name"] for one in ours):
        steps = sorted((one for one in ours if one["name"] == name), key=lambda one: one["rows"])
        lines.append([f"{name}: GMAC/s", *(f"{per_second(one, 'elements'):.0f}" for one in steps)])
        lines.append([f"{name}: GB/s", *(f"{per_second(one, 'bytes'):.1f}" for one in steps)])
        for kind, what in (("peak", "of the roof"), ("with scales", "of the roof with scales")):
            if (kind, name) not in limits:
                continue
            shares = []
            for one in steps:
                of_memory = limits["memory", name] * one["elements"] / one["bytes"]
                roof = min(limits[kind, name], of_memory)
                shares.append(f"{100 * per_second(one, 'elements') / roof:.0f} %")
            lines.append([f"{name}: {what}", *shares])
    return table(["", *(f"M = {rows}" for rows in sorted({one["rows"] for one in ours}))], lines)


# Multiply-adds of SmolLM2: all layers and the head for a token, and attention for each position that a
# token sees; the bytes of its weights.
LAYERS, HEAD, POSITION, WEIGHTS = 106_168_320, 28_311_552, 34_560, 96_436_224
# Prompt tokens that the prefix cache leaves of agent's: what all share, and what is new of each session
# and of each later turn.
AGENT_PROMPTS = 1_200 + 8 * 60 + 32 * 125


def at_most(workload, prompt, products, memory):
    """Tokens a second of a workload whose every operation runs at the roofs; a prompt is so long."""
    def read(count, seen):
        return count * (LAYERS + POSITION * seen)

    def drawn(count, seen):
        return count * (LAYERS + HEAD + POSITION * seen)

    match workload:
        case "decode":
            return min(products / drawn(1, prompt + 64), memory / WEIGHTS)
        case "prefill":
            return products / read(1, prompt / 2)
        case "batch":
            work = read(16 * prompt, prompt / 2) + drawn(16 * 64, prompt + 32)
            return 16 * 64 * products / work
        case "agent":
            work = read(AGENT_PROMPTS, prompt) + drawn(8 * 5 * 32, prompt)
            return 8 * 5 * 32 * products / work


def limits(benchmarks, report):
    """What each workload could be at most, beside what it was."""
    roofs = {}
    for group, what in (("peak", "elements"), ("memory", "bytes")):
        for one in of_group(benchmarks, group):
            loop, threads = one["name"].split("/")
            if group == "memory" or loop.endswith("Q4_1"):
                roofs[group, int(threads.removeprefix("threads "))] = per_second(one, what) * 1e9
    threads = report["machine"]["cores"]
    if ("peak", threads) not in roofs:
        return None
    lines = []
    for figure in report["figures"]:
        workload = figure["workload"]
        if figure["name"] != ("tokens in/s" if workload == "prefill" else "tokens out/s"):
            continue
        prompts = [
            one["prompt_tokens_mean"] for one in report["measurements"]
            if (one["workload"], one["server"]) == (workload, "Hanse")
        ]
        prompt = sum(prompts) / len(prompts)
        most = at_most(workload, prompt, roofs["peak", threads], roofs["memory", threads])
        median, best = (figure["values"]["Hanse"][which] for which in ("median", "max"))
        share = f"{100 * median / most:.0f} % ({100 * best / most:.0f} %)"
        lines.append([workload, figure["name"], f"{most:.0f}", f"{median:.0f} ({best:.0f})", share])
    return table(["", "", "at most", "median (best)", "of it"], lines)


def kernels(benchmarks):
    one_core = peak(benchmarks)
    numbers = "thousand million numbers/s, one core"
    return {
        "ceilings": ceilings(benchmarks),
        "products": by_rows(benchmarks, "product", "GMAC/s, one core", one_core),
        "model": whole_model(benchmarks),
        "attention": by_rows(benchmarks, "attention", "GMAC/s, one core"),
        "elements": by_rows(benchmarks, "elements", numbers),
    }


def put(page, name, text):
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def main(criterion, comparisons):
    tables = {}
    benchmarks = measured(pathlib.Path(criterion))
    if benchmarks:
        (RESULTS / "kernels.json").write_text(json.dumps(benchmarks, indent=1) + "\n")
        tables |= kernels(benchmarks)
    for file in sorted(pathlib.Path(comparisons).glob("*.md")):
        tables[file.stem] = file.read_text()
    reports = [file for file in sorted(RESULTS.glob("*.json")) if file.name != "kernels.json"]
    smollm2, ceilings_known = RESULTS / "smollm2-135m-instruct.json", RESULTS / "kernels.json"
    if smollm2.exists() and ceilings_known.exists():
        limited = limits(*(json.loads(file.read_text()) for file in (ceilings_known, smollm2)))
        if limited:
            tables["limits"] = limited
    picture = draw([json.loads(file.read_text()) for file in reports])
    if picture:
        PAGE.with_suffix(".svg").write_text(picture)
        tables["ratios"] = "![How many times better Hanse is, as bars](performance.svg)\n"
    page = PAGE.read_text()
    for name, text in tables.items():
        page = put(page, name, text)
    PAGE.write_text(page)
    print(f"wrote {', '.join(tables) or 'nothing'} into {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

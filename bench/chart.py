"""Draws the ratios of comparisons as bars, with their range over the rounds."""

import html

HEADLINES = [
    ("decode", "tokens out/s"),
    ("prefill", "tokens in/s"),
    ("batch", "tokens out/s"),
    ("agent", "tokens out/s"),
    ("agent", "first token, p50 ms"),
    ("memory", "peak RSS, MiB"),
]
COLOURS = ["#2563a8", "#b3541e", "#4a7a3f", "#7a4a8f"]
LABELS, BARS, BAR, GAP, MARGIN = 330, 420, 16, 10, 24


def bars(reports):
    """(label, other server, its spread) of every headline, report by report."""
    for report in reports:
        model = report["servers"][0]["model"]
        for workload, name in HEADLINES:
            for figure in report["figures"]:
                if (figure["workload"], figure["name"]) != (workload, name):
                    continue
                for other, spread in figure["ratios"].items():
                    yield f"{model}, {workload}: {name}", other, spread


def draw(reports):
    """An SVG; `None` where nothing was compared."""
    all_bars = list(bars(reports))
    if not all_bars:
        return None
    first = reports[0]["servers"][0]["name"]
    others = list(dict.fromkeys(other for _, other, _ in all_bars))
    most = max(max(spread["max"] for _, _, spread in all_bars), 1.0)

    def x(ratio):
        return LABELS + BARS * ratio / most

    parts, y, before = [], 2 * MARGIN + GAP, None
    for label, other, spread in all_bars:
        if label != before:
            y += GAP
            parts.append(text(LABELS - 8, y + 12, label, "end"))
            before = label
        colour = COLOURS[others.index(other) % len(COLOURS)]
        width = x(spread["median"]) - LABELS
        parts.append(f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>')
        middle = y + (BAR - 3) / 2
        parts.append(
            f'<path d="M{x(spread["min"]):.1f} {middle}H{x(spread["max"]):.1f}" stroke="#222" stroke-width="1.5"/>'
        )
        parts.append(text(x(spread["max"]) + 5, y + 11, f"{spread['median']:.2f}×", "start"))
        y += BAR
    height, width = y + MARGIN, LABELS + BARS + 3 * MARGIN
    legend = [text(LABELS, MARGIN, f"{first} is so many times better than", "start")]
    at = LABELS
    for other, colour in zip(others, COLOURS):
        legend.append(f'<rect x="{at}" y="{MARGIN + 8}" width="11" height="11" fill="{colour}"/>')
        legend.append(text(at + 16, MARGIN + 18, other, "start"))
        at += 110
    one = f'<path d="M{x(1):.1f} {2 * MARGIN}V{y + 4}" stroke="#888" stroke-dasharray="3 3"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        + "\n".join([*legend, one, *parts])
        + "\n</svg>\n"
    )


def text(x, y, words, anchor):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222">{html.escape(words)}</text>'

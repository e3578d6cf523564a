#!/usr/bin/env python3
"""Draws the figures of docs/judgement.md from the tables of benches/results/statistics.md.

    pip install matplotlib && docs/plots.py
"""

import os
import re
import textwrap

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "benches", "results", "statistics.md")
# Told apart by people who do not see red and green (Okabe and Ito 2008), and by their marks.
LOOKS = {
    "shifter": ("#0072B2", "o"),
    "Argo": ("#E69F00", "s"),
    "Flagger": ("#CC79A7", "D"),
    "Kayenta": ("#009E73", "^"),
    "z-test": ("#555555", "x"),
}


def table(text, number):
    """Rows of the table under `### number.`, as lists of cells, the heading first."""
    part = text.split(f"### {number}. ", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0]] + rows[2:]


def look(heading):
    return next((name, *look) for name, look in LOOKS.items() if heading.startswith(name))


def number(text):
    found = re.match(r"[\d.]+", text)
    return float(found.group()) if found else None


def save(figure, name):
    figure.tight_layout()
    # Equal tables give an equal file.
    figure.savefig(os.path.join(HERE, name), metadata={"Date": None})
    print(name)


def false_rollbacks(rows):
    heading, rows = rows[0], [row for row in rows[1:] if row[1] == "500" or row[0].startswith("AR + cold")]
    figure, axes = plt.subplots(figsize=(8, 3.6))
    for at, name in enumerate(heading[2:]):
        rule, colour, _ = look(name)
        values = [number(row[at + 2]) for row in rows]
        left = [i + (at - 2) * 0.16 for i in range(len(rows))]
        axes.bar(left, values, 0.15, color=colour, label=rule)
        for x, value in zip(left, values):
            axes.text(x, value + 1, f"{value:g}", ha="center", fontsize=6, color=colour)
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(rows)), [f"{row[0]}\n{row[1]} req/s" for row in rows], fontsize=7)
    axes.set_ylabel("good versions sent back, %")
    axes.set_title("Green equals blue: how often it is sent back (dotted: 1 %)", fontsize=10)
    axes.legend(fontsize=8)
    save(figure, "false-rollbacks.svg")


def every_world(text):
    """Upper ends of the intervals of all cells of the table `equal`, by the titles of its parts."""
    part = text.split("### 15. ", 1)[1].split("\n## ", 1)[0]
    parts = [piece for piece in part.split("\n**")[1:] if re.search(r"\d+ of \d+ \[", piece)]
    figure, axes = plt.subplots(figsize=(8, 3.6))
    names = []
    for at, piece in enumerate(parts):
        title = piece.split("**", 1)[0].split(",")[0].split(":")[0].split(";")[0]
        cells = [(int(back), float(high)) for back, high in re.findall(r"(\d+) of \d+ \[([\d.]+)%", piece)]
        for back, colour, mark in ((False, "#0072B2", "o"), (True, "#E69F00", "s")):
            some = [(i, high) for i, (hits, high) in enumerate(cells) if (hits > 0) == back]
            axes.plot([at - 0.35 + 0.7 * i / max(1, len(cells) - 1) for i, _ in some], [high for _, high in some], mark,
                      color=colour, markersize=3, label=None if at else ("some went back" if back else "none went back"))
        names.append("\n".join(textwrap.wrap(f"{title} ({len(cells)})", 17)))
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, None)
    axes.set_xticks(range(len(names)), names, fontsize=6)
    axes.set_ylabel("good versions sent back, %\n(upper end, 95 %)")
    axes.set_title("Green equals blue, every world (number of cells; dotted: 1 %)", fontsize=10)
    axes.legend(fontsize=8)
    save(figure, "every-world.svg")


def delays(rows):
    heading, rows = rows[0], [row for row in rows[1:] if row[1] == "50"]
    figure, axes = plt.subplots(figsize=(8, 3.6))
    for at, name in enumerate(heading[2:]):
        rule, colour, mark = look(name)
        cells = [row[at + 2] for row in rows]
        points = [(i, number(cell), "miss" in cell) for i, cell in enumerate(cells) if number(cell)]
        for missed in (False, True):
            some = [(i, value) for i, value, miss in points if miss == missed]
            face = "none" if missed else colour
            axes.plot(*(zip(*some) if some else ([], [])), mark, color=colour, markerfacecolor=face, alpha=0.4 if missed else 1,
                      label=None if missed else rule)
    axes.set_yscale("log")
    axes.set_yticks([5, 15, 60, 300, 900, 1800], ["5 s", "15 s", "1 min", "5 min", "15 min", "30 min"])
    axes.set_xticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    axes.set_ylabel("median time to the rollback")
    axes.set_title("Green is worse, 50 req/s: how soon it is found (pale: some are missed; no mark: never)", fontsize=9)
    axes.grid(axis="y", linewidth=0.3)
    axes.legend(fontsize=8, loc="lower right")
    save(figure, "detection.svg")


def main():
    plt.rcParams["svg.hashsalt"] = "shifter"
    with open(SOURCE, encoding="utf-8") as file:
        text = file.read()
    false_rollbacks(table(text, 11))
    delays(table(text, 12))
    every_world(text)


if __name__ == "__main__":
    main()

"""The layers of modules, from the list that the test of imports checks."""

import ast
from pathlib import Path

import matplotlib.pyplot as plt

# Sphinx runs this in the script's own folder.
source = Path("../../tests/test_imports.py").read_text(encoding="utf-8")
layers = next(
    ast.literal_eval(node.value)
    for node in ast.parse(source).body
    if isinstance(node, ast.Assign) and node.targets[0].id == "LAYERS"
)
titles = ("no torch", "networks", "whole images", "detection", "for users", "many files", "command")
WIDTH, CHARACTER, GAP = 9.0, 0.084, 0.3  # inches: of the picture, a character, between two names

fig, ax = plt.subplots(figsize=(WIDTH, 4.6), layout="constrained")
y = 0.0
for i, (title, names) in enumerate(zip(titles, layers, strict=True)):
    shown = [name for name in names if not name.startswith("_") and "._" not in name]
    top, x = y, 1.5
    for name in shown:
        width = CHARACTER * len(name)
        if x + width > WIDTH - 0.2:
            x, y = 1.5, y + 0.36
        box = {"boxstyle": "round,pad=0.3", "fc": "white", "ec": f"C{i}"}
        ax.text(x, y, name, family="monospace", fontsize=9, va="center", bbox=box)
        x += width + GAP
    ax.axhspan(top - 0.26, y + 0.26, color=f"C{i}", alpha=0.12, lw=0)
    ax.text(0.1, (top + y) / 2, title, va="center")
    y += 0.62
ax.set(xlim=(0, WIDTH), ylim=(y - 0.3, -0.32))
ax.axis("off")

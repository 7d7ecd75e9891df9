"""Directives that render what is committed: tables, the bundled models and their cards."""

import os
from pathlib import Path

import numpy as np
from astropy.table import Table
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import cosmiq_astro

WEIGHTS = Path(cosmiq_astro.__file__).parent / "models" / "weights"


def table_node(table, title=None):
    """Return a docutils table of an astropy table; floats without a format get four digits."""
    for column in table.columns.values():
        if column.dtype.kind == "f" and not column.info.format:
            column.info.format = ".4g"
    node = nodes.table(classes=["committed"])
    if title:
        node += nodes.title(title, title)
    group = nodes.tgroup(cols=len(table.colnames))
    group += [nodes.colspec(colwidth=1) for _ in table.colnames]
    heads = [
        f"{name} ({column.unit})" if column.unit else name for name, column in table.columns.items()
    ]
    cells = [column.pformat(show_name=False, max_lines=-1) for column in table.columns.values()]
    group += nodes.thead("", _row(heads))
    group += nodes.tbody("", *(_row(row) for row in zip(*cells, strict=True)))
    node += group
    return node


def _row(texts):
    entries = (nodes.entry("", nodes.paragraph(text=text.strip())) for text in texts)
    return nodes.row("", *entries)


def _short(x):
    return "" if x is np.ma.masked or x != x else f"{x:,.0f}" if x > 20 else f"{x:.2g}"


def _notes(table):
    """Return what the columns mean, and what else the table says of itself."""
    notes = {
        name: column.info.description
        for name, column in table.columns.items()
        if column.info.description
    }
    # With spaces, a name can wrap on a narrow screen.
    notes |= {
        k.replace("_", " "): v for k, v in table.meta.items() if k not in ("title", "description")
    }
    fields = nodes.field_list(classes=["committed"])
    for name, value in notes.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        body = nodes.field_body("", nodes.paragraph(text=str(value)))
        fields += nodes.field("", nodes.field_name(text=str(name)), body)
    return [fields] if notes else []


class CommittedTables(SphinxDirective):
    """
    ``.. committed-tables:: *.ecsv``: all tables beside the page that match.

    ``meta['title']`` becomes a table's caption, ``meta['description']`` a
    paragraph above it; the descriptions of its columns and the rest of
    ``meta`` become a list below it. ``:columns:`` and ``:rows: NAME=VALUE, VALUE; NAME=VALUE``
    choose a part, which then stands without these: a link to the file does.
    """

    required_arguments = 1
    option_spec = {"columns": str.split, "rows": str}  # noqa: RUF012

    def run(self):
        """Read the tables."""
        self.env.note_reread()
        folder = Path(self.env.doc2path(self.env.docname)).parent
        content = []
        for path in sorted(folder.glob(self.arguments[0])):
            table = Table.read(path, format="ascii.ecsv")
            if "columns" in self.options:
                content.append(table_node(self._part(table)))
                continue
            if description := table.meta.get("description"):
                content.append(nodes.paragraph(text=description))
            content.append(table_node(table, table.meta.get("title", path.stem)))
            content += _notes(table)
        return content or [nodes.paragraph(text="No table has been committed for this version.")]

    def _part(self, table):
        """Return the rows and columns asked for, numbers with two digits."""
        if "rows" in self.options:
            for condition in self.options["rows"].split(";"):
                name, _, values = condition.partition("=")
                chosen = [value.strip() for value in values.split(",")]
                table = table[np.isin(table[name.strip()], chosen)]
        for column in table.columns.values():
            if column.dtype.kind == "f":
                column.info.format = _short
        return table[self.options["columns"]]


class ModelTable(SphinxDirective):
    """``.. model-table::``: `cosmiq_astro.list_models`, and the SHA-256 of the weights."""

    def run(self):
        """Read the registry."""
        self.env.note_reread()
        models = cosmiq_astro.list_models()
        if len(models) == 0:
            return [nodes.paragraph(text="This build holds no models.")]
        digests = "\n".join(f"{row['sha256']}  {row['name']}" for row in models)
        models.remove_columns(["sha256", "version", "temperature"])
        models["threshold"].info.format = ".2f"
        models = models["name", "method", "parameters", "threshold", "instrument"]
        return [
            table_node(models),
            nodes.paragraph(text="SHA-256 of the files weights.safetensors:"),
            nodes.literal_block(digests, digests, language="none"),
        ]


class ModelCards(SphinxDirective):
    """``.. model-cards::``: the card of each bundled model, a section each."""

    def run(self):
        """Let the Markdown parser read the cards."""
        self.env.note_reread()
        folder = Path(self.env.doc2path(self.env.docname)).parent
        includes = "\n\n".join(
            f".. include:: {os.path.relpath(card, folder)}\n   :parser: myst_parser.docutils_"
            for card in sorted(WEIGHTS.glob("*/card.md"))
        )
        return self.parse_text_to_nodes(includes, allow_section_headings=True)


def setup(app):
    """Register the directives."""
    app.add_directive("committed-tables", CommittedTables)
    app.add_directive("model-table", ModelTable)
    app.add_directive("model-cards", ModelCards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

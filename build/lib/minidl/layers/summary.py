"""What a network makes of an input, layer by layer, and what it costs: found without computing anything."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from minidl.graph.building import nodes_below
from minidl.graph.static import Graph, placeholder
from minidl.layers.layer import observe
from minidl.ops.op import size


@dataclass(frozen=True)
class Row:
    """One layer's call: `flops` counts a multiply-add as two, `bytes` its parameters and its output."""

    name: str
    layer: str
    shape: tuple
    parameters: int
    flops: int
    bytes: int


class Summary:
    """A table of a network's layers, made by passing a node of a static graph through it.

    Parameters
    ----------
    layer : Layer
    input_shape : tuple of int
        The batch included.

    Attributes
    ----------
    rows : list of Row
        The layers that are not made of others, in the order in which they are called.
    parameters, flops, bytes : int
        The sums; a parameter that is shared counts once.
    """

    def __init__(self, layer, input_shape):
        self.input_shape, self.rows = tuple(input_shape), []
        names = {id(part): name for name, part in layer.layers()}

        def note(part, inputs, output):
            if part.parts():
                return
            made = [node for node in nodes_below([output], stop=inputs) if node.inputs and node not in inputs]
            parameters = sum(p.size for p in part.parameters())
            self.rows.append(
                Row(
                    names.get(id(part), ""),
                    repr(part),
                    output.shape,
                    parameters,
                    sum(node.op.flops(*[p.shape for p in node.inputs], **node.params) for node in made),
                    sum(p.data.nbytes for p in part.parameters())
                    + size(output.shape) * output.dtype.itemsize,
                )
            )

        with Graph("summary"), observe(note):
            layer(placeholder(self.input_shape, name="input"))
        self.parameters = sum(p.size for p in layer.parameters())
        self.flops, self.bytes = sum(row.flops for row in self.rows), sum(row.bytes for row in self.rows)

    def _table(self):
        yield "", "layer", "output", "parameters", "MFLOP", "KiB"
        yield "", "input", str(self.input_shape), "", "", ""
        for row in self.rows:
            yield (
                row.name, row.layer, str(row.shape), f"{row.parameters:,}", f"{row.flops / 1e6:,.3f}",
                f"{row.bytes / 1024:,.1f}",
            )  # fmt: skip
        yield (
            "",
            "in all",
            "",
            f"{self.parameters:,}",
            f"{self.flops / 1e6:,.3f}",
            f"{self.bytes / 1024:,.1f}",
        )

    def __str__(self):
        rows = list(self._table())
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    __repr__ = __str__

    def _repr_html_(self):
        head, *body = self._table()
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
        return f'<table class="osi-table"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'

"""The plot as SVG: a group of bars for each comparison, the median as the bar, the quartiles as a whisker."""
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE = 860, 250, 150
ROW, GAP, TITLE = 22, 18, 26
COLOURS = {"Terminals": "#2a78d6", "HAProxy, fixed backend": "#7a8794", "the instance itself": "#b3bcc5", "configurable-http-proxy": "#d68a2a"}


def _group(figure, top):
    """(the elements of one group, where the next begins)"""
    bars = figure["bars"]
    longest = max((high for _, _, high in bars.values()), default=0) or 1
    scale = (WIDTH - LABEL - VALUE) / longest
    out = [f'<text x="0" y="{top + 15}" class="title">{escape(figure["title"].replace("`", ""))}'
           f'<tspan class="unit"> {escape(figure["unit"])}, {escape(figure["better"])} is better</tspan></text>']
    y = top + TITLE
    for name, (middle, low, high) in bars.items():
        end, centre = LABEL + middle * scale, y + ROW / 2 - 2
        out.append(f'<text x="{LABEL - 8}" y="{centre + 4}" class="name">{escape(name)}</text>')
        out.append(f'<rect x="{LABEL}" y="{y}" width="{middle * scale:.1f}" height="{ROW - 4}" fill="{COLOURS.get(name, "#2a78d6")}"/>')
        out.append(f'<path d="M{LABEL + low * scale:.1f} {centre}H{LABEL + high * scale:.1f}" class="whisker"/>')
        text = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
        out.append(f'<text x="{max(end, LABEL + high * scale) + 6:.1f}" y="{centre + 4}" class="value">{text}</text>')
        y += ROW
    return out, y + GAP


def svg(figures, caption):
    """The whole document."""
    body, y = [], 10
    for figure in figures:
        elements, y = _group(figure, y)
        body += elements
    body.append(f'<text x="0" y="{y + 8}" class="unit">{escape(caption)}</text>')
    height = y + 20
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 20}" height="{height}" viewBox="-10 0 {WIDTH + 20} {height}">\n'
            "<style>text{font:13px sans-serif;fill:#222}.title{font-weight:bold}.unit{font-weight:normal;font-size:11px;fill:#666}"
            ".name{text-anchor:end}.value{font-size:12px}.whisker{stroke:#222;stroke-width:1.5}</style>\n"
            f'<rect x="-10" width="{WIDTH + 20}" height="{height}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n")

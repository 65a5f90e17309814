"""Building blocks of a self-contained HTML page: no script, no other file, fit for print and for a phone.

All functions take plain text and return markup. Text is escaped, so it is shown as it is and never interpreted.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from typing import NewType

from rhonet.core.text import printable

Html = NewType("Html", str)


def page(title: str, *parts: Html) -> str:
    """The whole HTML document."""
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def text(content: str) -> Html:
    """Escaped text, safe between tags and in quoted attributes."""
    return Html(html.escape(printable(content)))


def heading(title: str, *, subtitle: str) -> Html:
    """Header of the page: title and subtitle."""
    return Html(f"<header>\n<h1>{text(title)}</h1>\n<p>{text(subtitle)}</p>\n</header>")


def section(title: str, *parts: Html, anchor: str, level: int = 2) -> Html:
    """Section of the page with its heading.

    Args:
        title: text of the heading.
        parts: content, in order.
        anchor: id of the section, the target of links.
        level: of the heading, 2 or 3.
    """
    body = "\n".join(parts)
    name = f"h{level}"
    return Html(f'<section id="{text(anchor)}">\n<{name}>{text(title)}</{name}>\n{body}\n</section>')


def contents(links: Mapping[str, str]) -> Html:
    """Table of contents: one link per section.

    Args:
        links: title of each section by its anchor.
    """
    entries = "".join(f'<li><a href="#{text(anchor)}">{text(title)}</a></li>' for anchor, title in links.items())
    return Html(f'<nav aria-label="Contents"><ul>{entries}</ul></nav>')


def paragraph(content: str) -> Html:
    """One paragraph of text."""
    return Html(f"<p>{text(content)}</p>")


def items(lines: Sequence[str]) -> Html:
    """Bullet list."""
    return Html("<ul>\n" + "\n".join(f"<li>{text(line)}</li>" for line in lines) + "\n</ul>")


def terms(facts: Mapping[str, str]) -> Html:
    """Definition list of names and values; names with an empty value are left out."""
    pairs = [f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items() if value]
    return Html("<dl>\n" + "\n".join(pairs) + "\n</dl>")


def table(
    caption: str,
    *,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: int = 1,
    strong: Collection[tuple[int, int]] = (),
) -> Html:
    """Table with a numbered caption.

    Args:
        caption: text above the table.
        heads: title of each column.
        rows: cells of each row, one per column.
        names: number of leading columns that hold names; these are left-aligned. All other columns hold numbers: they
            are right-aligned, and their hyphens become minus signs.
        strong: (row, column) of the cells in bold.
    """
    top = "".join(f'<th scope="col"{_name_class(column, names)}>{text(head)}</th>' for column, head in enumerate(heads))
    lines = []
    for row, cells in enumerate(rows):
        signed = [cell if column < names else cell.replace("-", "−") for column, cell in enumerate(cells)]
        marked = [
            f"<strong>{text(cell)}</strong>" if (row, column) in strong else text(cell)
            for column, cell in enumerate(signed)
        ]
        first, *rest = marked
        tail = "".join(f"<td{_name_class(column, names)}>{cell}</td>" for column, cell in enumerate(rest, start=1))
        lines.append(f'<tr><th scope="row"{_name_class(0, names)}>{first}</th>{tail}</tr>')
    body = "\n".join(lines)
    return Html(
        f'<figure class="table">\n<figcaption>{text(caption)}</figcaption>\n<div class="wide"><table>\n'
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div></figure>"
    )


def figure(svg: bytes, *, alt: str, caption: str) -> Html:
    """Picture with a numbered caption.

    Args:
        svg: the picture.
        alt: what it shows, for readers who cannot see it.
        caption: text below the picture.
    """
    data = base64.b64encode(svg).decode("ascii")
    return Html(
        f'<figure class="picture"><img alt="{text(alt)}" src="data:image/svg+xml;base64,{data}">\n'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def gallery(*figures: Html) -> Html:
    """Figures side by side where the page is wide enough."""
    body = "\n".join(figures)
    return Html(f'<div class="gallery">\n{body}\n</div>')


def _name_class(column: int, names: int) -> str:
    return ' class="name"' if column < names else ""


_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #222; counter-reset: figure table;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
header { border-bottom: 2px solid #222; margin-bottom: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p { margin: .3rem 0 .8rem; color: #555; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; padding-bottom: .2rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
a { color: #0072B2; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1.2rem; margin: .8rem 0; }
dt { color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 0; }
figcaption { font-size: .86rem; line-height: 1.4; color: #444; max-width: 46rem; overflow-wrap: anywhere; }
figcaption::before { font-weight: 600; color: #222; }
.table { margin: 1rem 0 1.4rem; }
.table figcaption { margin-bottom: .4rem; }
.table figcaption::before { counter-increment: table; content: "Table " counter(table) ". "; }
.picture { max-width: 29rem; }
.picture img { display: block; width: 100%; height: auto; }
.picture figcaption { margin-top: .3rem; }
.picture figcaption::before { counter-increment: figure; content: "Figure " counter(figure) ". "; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.35; font-variant-numeric: tabular-nums;
  border-bottom: 1.5px solid #222; }
th, td { padding: .22rem .9rem .22rem 0; text-align: right; font-weight: 400; white-space: nowrap;
  vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-top: 1.5px solid #222; border-bottom: 1px solid #222; font-weight: 600; vertical-align: bottom; }
tbody tr + tr > * { border-top: 1px solid #eee; }
.name { text-align: left; }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1.2rem 2rem;
  margin: 1rem 0; align-items: start; }
@media (max-width: 36rem) {
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .4rem; }
}
@media print {
  @page { margin: 16mm; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  section section, .picture, tr, dl { break-inside: avoid; }
  h2, h3, .table figcaption { break-after: avoid; }
  .wide { overflow: visible; }
  .gallery { grid-template-columns: 1fr 1fr; }
}
"""

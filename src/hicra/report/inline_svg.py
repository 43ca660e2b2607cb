"""From matplotlib's SVG to one that can stand in the page.

Colours become CSS variables, so that a drawing follows the reader's theme; style attributes become presentation
attributes, which a content security policy without 'unsafe-inline' lets pass; ids begin with a key, so that two
drawings cannot clash.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from hicra.report.plotting import saved
from hicra.report.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_ROLE_OF = {value: role for role, value in LIGHT.items()}
_KEEP = ("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-dashoffset", "opacity", "fill-opacity",
         "stroke-opacity", "text-anchor", "font-size", "font-weight", "stroke-linecap", "stroke-linejoin")  # fmt: skip
_PRESENTATION = re.compile(r"\s*([a-z-]+)\s*:\s*([^;]+)")


def inline_svg(figure: MplFigure, key: str) -> str:
    """A figure as an element for the page, to be called inside `styled`.

    Args:
        figure: in the colours of the light theme, its text left as text.
        key: unique in the page.
    """
    root = ET.fromstring(saved(figure, "svg", transparent=True))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
            if child.tag == f"{{{_SVG}}}defs" and len(child) == 0:
                parent.remove(child)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', ET.tostring(root, encoding="unicode")))
    for element in root.iter():
        _presentation(element)
        if (name := element.get("id")) is not None:
            if name in used:
                element.set("id", f"{key}-{name}")
            else:
                del element.attrib["id"]
        for attribute in (f"{{{_XLINK}}}href", "clip-path"):
            if (value := element.get(attribute)) is not None:
                element.set(attribute, value.replace("#", f"#{key}-"))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("aria-hidden", "true")
    return _html(root)


def _presentation(element: ET.Element) -> None:
    """The style attribute as presentation attributes: a policy without 'unsafe-inline' ignores only the former."""
    for name, value in _PRESENTATION.findall(element.attrib.pop("style", "")):
        if name == "font":  # e.g. "600 11px 'DejaVu Sans', sans-serif": the page has the family
            if size := re.search(r"([\d.]+)px", value):
                element.set("font-size", size[1])
            if weight := re.match(r"(\d00|bold)\b", value):
                element.set("font-weight", weight[1])
        elif name in _KEEP:
            element.set(name, value.removesuffix("px").strip())
    for name in ("fill", "stroke"):
        if (role := _ROLE_OF.get(element.get(name, ""))) is not None:
            element.set(name, f"var(--{role})")


def _html(root: ET.Element) -> str:
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    text = ET.tostring(root, encoding="unicode")
    return re.sub(r"\s*\n\s*", "", text)

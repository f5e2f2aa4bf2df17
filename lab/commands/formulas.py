"""Statements of laws as HTML: formulas as MathML, everything else as it was written.

Only what is marked as mathematics (``:math:`...``` and ``.. math::``) or as code is interpreted. The rest is not read
as reStructuredText: in ``|h|^2`` or ``tau_* < tau_c`` that would find markup where there is none.
"""

from __future__ import annotations

import functools
import html
import re
import textwrap

__all__ = ["statement_html"]

_INLINE = re.compile(r":math:`(?P<math>[^`]+)`|``(?P<code>.+?)``|`(?P<name>[^`]+)`", re.DOTALL)
_DIRECTIVE = re.compile(r"\.\. math::[ \t]*(.*)", re.DOTALL)


def statement_html(text: str) -> str:
    r"""A statement as paragraphs of HTML; text is escaped.

    Examples
    --------
    >>> statement_html("``x`` < |h|^2 always.")
    '<p><code>x</code> &lt; |h|^2 always.</p>'
    """
    made = []
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text) if block.strip()]
    while blocks:
        block = blocks.pop(0)
        directive = _DIRECTIVE.match(block)
        if directive:
            formula = directive[1]
            while blocks and blocks[0][0] in " \t":  # a directive owns the indented blocks that follow
                formula += "\n" + blocks.pop(0)
            made.append(f"<div>{_formula(formula, block=True)}</div>")
        elif block[0] in " \t":  # formulas laid out by hand
            made.append(f"<pre>{html.escape(textwrap.dedent(block))}</pre>")
        else:
            made.append(f"<p>{_inline(block)}</p>")
    return "\n".join(made)


def _inline(text: str) -> str:
    made, end = "", 0
    for found in _INLINE.finditer(text):
        made += html.escape(text[end : found.start()])
        end = found.end()
        if found["math"]:
            made += _formula(found["math"])
        else:
            made += f"<code>{html.escape(found['code'] or found['name'])}</code>"
    return made + html.escape(text[end:])


@functools.cache
def _formula(tex: str, block: bool = False) -> str:
    """MathML of a formula; its source where docutils is absent or cannot read it."""
    tex = " ".join(line for line in tex.split("\n") if not re.fullmatch(r"\s*:\w+:.*", line)).strip()
    try:
        from docutils.core import publish_parts
    except ImportError:
        return _source(tex, block)
    # docutils reads \frac12 x as 12/x: braces make it one half
    tex = re.sub(r"\\([td]?)frac\s*(\d)\s*(\d)", r"\\\1frac{\2}{\3}", tex)
    text = f".. math::\n\n   {tex}" if block else f":math:`{tex}`"
    settings = {"math_output": "MathML", "report_level": 5, "halt_level": 6, "_disable_config": True}
    body = str(publish_parts(text, writer="html5", settings_overrides=settings)["body"])
    found = re.search(r"<math.*</math>", body, re.DOTALL)
    return found[0] if found else _source(tex, block)


def _source(tex: str, block: bool) -> str:
    return f"<pre>{html.escape(tex)}</pre>" if block else f"<code>{html.escape(tex)}</code>"

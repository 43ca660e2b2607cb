r"""One spelling for what LaTeX can spell in many ways: the normaliser in front of every comparison of answers.

``clean`` takes the content of a box and returns it without layout: ``\dfrac`` is ``\frac``, ``\left(`` is ``(``, a thin
space is nothing, ``\le`` and ``\leqslant`` are one, Unicode signs are their commands. Text (``\text``, ``\mbox``,
``\mathrm`` ...) stands between the private marks ``TEXT`` and ``END``, so that no word is read as a product of letters;
``or`` and ``and`` between answers become the marks ``OR`` and ``AND``; rows of a matrix end with ``ROW``; a degree sign
is ``°``, a currency sign ``¤``. Linear in the length of the text.
"""

from __future__ import annotations

import re

TEXT, END, OR, AND, ROW = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"

_MARKS = str.maketrans("", "", TEXT + END + OR + AND + ROW)
_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "＋": "+", "＝": "=", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
        "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
        "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
        "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "±": r"\pm ", "∓": r"\mp ", "º": "°", "˚": "°", "％": "%", "′": "'",
        "’": "'", "‘": "'", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "θ": r"\theta ", "λ": r"\lambda ",
        "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "σ": r"\sigma ", "τ": r"\tau ", "∨": r"\lor ", "∧": r"\land ",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "（": "(", "）": ")", "，": ",", "“": '"', "”": '"',
        "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
        "⅛": r"\frac{1}{8}", "€": "¤", "£": "¤", "⟨": r"\langle ", "⟩": r"\rangle ", "⌊": r"\lfloor ",
        "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "|": "|", "∣": "|",
    }
)  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_SAME = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le",
    "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "lt": "<", "gt": ">", "lbrace": r"\{",
    "rbrace": r"\}", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lbrack": "[", "rbrack": "]", "ast": "*",
    "varnothing": "emptyset", "wedge": "land", "vee": "lor", "varphi": "phi", "varepsilon": "epsilon",
    "rightarrow": "to", "thinspace": "", "degree": "°", "prime": "'", "simeq": "approx", "doteq": "approx",
    "div": "/", "R": r"\mathbb{R}", "reals": r"\mathbb{R}", "setminus": "setminus", "backslash": "setminus",
    "dollar": "¤", "textdollar": "¤", "percent": "%", "imath": "i", "cosec": "csc", "arccot": "operatorname{arccot}",
}  # fmt: skip
_NOTHING = {
    "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr",
    "middle", "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "quad", "qquad", "hfill", "strut",
    "small", "large", "Large", "normalsize", "rm", "bf", "it", "boldmath", "hspace", "mathstrut", "nonumber", "null",
}  # fmt: skip
_WORDS = {"text", "textbf", "textrm", "textit", "textsf", "texttt", "textnormal", "emph", "mbox", "hbox", "mathrm"}
_UNWRAPPED = {
    "mathbf", "mathit", "mathsf", "boldsymbol", "bm", "mathcal", "mathscr", "ensuremath", "boxed", "fbox", "underline",
    "operatorname", "mathop", "mathord", "textcolor", "color", "smash", "phantom", "displaylines", "mathtt",
}  # fmt: skip
_TYPED = (
    "sqrt|arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|infinity|infty|theta|alpha|beta|"
    "gamma|lambda|omega|phi|floor|ceil|inf"
)

_COMMAND = re.compile(r"\\([A-Za-z]+)\*?\s*")
_TYPED_COMMAND = re.compile(rf"{TEXT}[^{END}]*{END}|(?<![\\A-Za-z])({_TYPED})(?![A-Za-z])")
_NUMBERS_AS_TEXT = re.compile(rf"{TEXT}(?=[^{END}]*\d)((?:[\d\s,.;()+*/=<>-]|\b(?:and|or)\b)*){END}")
_DEGREE = re.compile(r"\^\s*(?:\{\s*(?:\\circ|°|o)\s*\}|\\circ(?![A-Za-z])|°)")
_JOINED = re.compile(rf"{TEXT}[\s,;]*(or|and)[\s,;]*{END}|(?<=[\s\d)}}\]])(or|and)(?=[\s\d({{\\\[-])", re.I)
_LABEL = re.compile(
    rf"^\s*{TEXT}?\s*(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*[:=]?\s*{END}?\s*[:=]?\s*(?=\S)", re.I
)  # fmt: skip
_ROW = re.compile(r"\\\\(?:\s*\[[\d.]+(?:pt|em|ex|mm)\])?|\\cr(?![A-Za-z])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2,})")  # a JSON string escaped once too often
_CHOOSE = re.compile(r"(?<!\w)\{?\s*(\w+)\s*\\choose\s*(\w+)\s*\}?")
_REPEATING = re.compile(r"(?<![\d.])(\d*\.\d{0,6}?)(\d{1,6}?)\2{2,9}\s*(?:\.\.\.|\\(?:l|c)?dots)\s*$")
_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:(?:\{,\}|,\\!\s*|\\[,!;: ]\s*|,?\{\\[,!;: ]\}|\{ \})\d{3})+(?!\d)")
_SPACED = re.compile(r"(?<![\d.])\d{1,3}(?: \d{3})+(?![\d ])")
_MIXED = re.compile(r"(?<![\d.}\w/*^])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.\w^])")


def clean(latex: str) -> str:
    """The answer in one spelling; idempotent on what carries no marks of its own."""
    text = latex.translate(_MARKS)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: "^{" + m[0].translate(_RAISED) + "}", text)
    text = re.sub(r"[₀₁₂₃₄₅₆₇₈₉]+", lambda m: "_{" + m[0].translate(_LOWERED) + "}", text)
    text = text.translate(_UNICODE)
    text = _ROW.sub(ROW, text if r"\begin" in text.replace(r"\\", "") else _DOUBLED.sub(r"\\", text))
    text = re.sub(r"\\text(?:dollar|degree|percent)(?![A-Za-z])", lambda m: "\\" + m[0][5:], text)
    text = text.replace(r"\$", "¤").replace("$", " ").replace(r"\%", "%").replace(r"\#", " ").replace(r"\&", "&")
    text = re.sub(r"\\[()]|\\\[|(?<!\\)\\\]", " ", text)  # marks of inline and display maths
    text = _grouped_digits(text)
    text = re.sub(r"\\[,;:!> ]|~", " ", text).replace("{,}", ",").replace("{ }", " ")
    text = _commands(text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    text = _DEGREE.sub("°", text)
    text = re.sub(r"\^\s*(?:\{\s*('+)\s*\}|('+))", lambda m: m[1] or m[2], text)
    text = re.sub(r"\*\*", "^", text)
    text = re.sub(r"\{\s*([+-])\s*\}", r"\1", text)
    text = _REPEATING.sub(r"\1\\overline{\2}", text)
    text = re.sub(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times ", text)
    text = _NUMBERS_AS_TEXT.sub(r" \1 ", text)
    text = _TYPED_COMMAND.sub(_typed, text)
    text = _JOINED.sub(lambda m: OR if (m[1] or m[2]).lower() == "or" else AND, text)
    text = re.sub(r"\\lor(?![A-Za-z])", OR, re.sub(r"\\land(?![A-Za-z])", AND, text))
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    text = _LABEL.sub("", text)
    text = re.sub(r"\s+", " ", text).strip()
    return _trimmed(text)


def _typed(match: re.Match[str]) -> str:
    name = match[1]
    return match[0] if name is None else "\\" + {"infinity": "infty", "inf": "infty"}.get(name, name) + " "


def plain(cleaned: str) -> str:
    """A cleaned answer as words: marks, braces and markup away, lower case, spaces folded."""
    text = re.sub(rf"[{TEXT}{END}{{}}]|\\ |\\(?=[A-Za-z])", " ", cleaned)
    text = text.replace(OR, " or ").replace(AND, " and ").strip(" .,;:!\"'")
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    return re.sub(r"\s+", " ", text).strip().casefold()


def letters(text: str) -> str:
    """The text without spaces and without braces around one sign, for comparison letter for letter."""
    text = re.sub(r"(?<=\d)\s+(?=\d)", "_", text)
    text = re.sub(rf"[\s{TEXT}{END}]+", "", text)
    return re.sub(r"\{(\w)\}", r"\1", text).replace(r"\cdot", r"\times")


def _commands(text: str) -> str:
    """Each command in its one spelling; the arguments of text commands between the marks of text."""
    out: list[str] = []
    at = 0
    closers: list[tuple[int, str]] = []  # depth of the brace that ends a command's argument, and what stands there
    depth, in_text = 0, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and (command := _COMMAND.match(text, at)):
            name, at = command[1], command.end()
            begins = at < len(text) and text[at] == "{"
            if name in _WORDS and begins:
                depth += 1
                closers.append((depth, "" if in_text else END))
                out.append("" if in_text else TEXT)
                in_text += 1
                at += 1
            elif name in _UNWRAPPED and begins:
                if name in ("textcolor", "color"):  # \textcolor{red}{5}, \color{red} 5
                    at = max(text.find("}", at), at) + 1
                else:
                    depth += 1
                    closers.append((depth, " "))
                    at += 1
            elif name in _NOTHING:
                at += text[at : at + 1] == "." and name in ("left", "right")
            else:
                spelled = _SAME.get(name, name)
                known = bool(spelled) and spelled[0].isalpha()
                out.append("\\" + spelled + " " if known else spelled)
            continue
        if char == "\\":  # an escaped sign stays
            out.append(text[at : at + 2])
            at += 2
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            if closers and closers[-1][0] == depth:
                depth -= 1
                end = closers.pop()[1]
                if end != " ":
                    in_text -= 1
                out.append(end)
                at += 1
                continue
            depth = max(depth - 1, 0)
        out.append(char)
        at += 1
    return "".join(out)


def _grouped_digits(text: str) -> str:
    r"""``58{,}500``, ``10,\!080``, ``58 500`` without what groups their digits; ``58,500`` stays: it may be a list."""
    text = _GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), text)
    return _SPACED.sub(lambda m: m[0].replace(" ", ""), text)


def _trimmed(text: str) -> str:
    """Without a final full stop and without braces or approximation signs around everything."""
    for _ in range(8):
        before = text
        text = text.strip(" " + ROW).rstrip(";,").rstrip()
        if text.endswith(".") and not text.endswith("..") and not re.search(r"\bp\.m\.$|\ba\.m\.$", text):
            text = text[:-1]
        if text.endswith("." + END) and text.count(".") == 1:
            text = text[:-2] + END
        text = re.sub(r"^\\approx\s*", "", text)
        if text.startswith("{") and text.endswith("}") and _closes_at_end(text):
            text = text[1:-1]
        if text == before:
            break
    return text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for i, char in enumerate(text):
        escaped = i > 0 and text[i - 1] == "\\"
        depth += (char == "{" and not escaped) - (char == "}" and not escaped)
        if depth == 0:
            return i == len(text) - 1
    return False

"""What holds of every answer: the checker never raises, is reflexive, and is right about numbers and lists."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hicra.evals._compare import same
from hicra.evals._latex import clean
from hicra.evals.answers import final_answer
from hicra.evals.boxed import last_boxed

PIECES = [
    r"\frac", r"\sqrt", "{", "}", "(", ")", "[", "]", "1", "23", "0.5", "x", "n", "+", "-", "^", "_", ",", "=", "<",
    r"\le ", r"\cup", r"\pm ", r"\text{", "or", r"\{", r"\}", "|", "!", "%", r"\$", r"^\circ", r"\pi", " ", "e",
    "i", ":", r"\infty", r"\begin{pmatrix}", r"\end{pmatrix}", "&", r"\\", r"\in ", "'", "d", r"\sin ", r"\log_",
    "cm", "A", r"\boxed{", "…",
]  # fmt: skip
latex = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
fractions = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=400)


@given(st.one_of(latex, any_text), st.one_of(latex, any_text))
@example(r"\frac", r"\frac\text{\frac^}")
@settings(max_examples=300, deadline=None)
def test_no_text_raises(answer: str, gold: str) -> None:
    assert same(answer, gold) in (True, False, None)
    assert isinstance(final_answer(answer + gold), str | None)


@given(st.one_of(latex, any_text))
@settings(deadline=None)
def test_a_text_says_what_it_says(text: str) -> None:
    assert same(text, text) is bool(text.strip())


@given(latex)
@settings(deadline=None)
def test_cleaning_twice_changes_nothing_that_counts(text: str) -> None:
    assume(clean(text))
    assert same(text, f" {text} ") is True


@given(latex, latex)
@settings(deadline=None)
def test_the_last_box_is_found(before: str, inside: str) -> None:
    bare = inside.replace(r"\\", "").replace(r"\{", "").replace(r"\}", "")  # without escaped signs
    assume(not set("{}") & set(bare) and not bare.endswith("\\") and "box" not in before + inside)
    assert last_boxed(f"{before} $\\boxed{{{inside}}}$ done") == inside


def spellings(x: Fraction) -> list[str]:
    """Ways to write a fraction."""
    n, d = x.numerator, x.denominator
    out = [f"{n}/{d}", rf"\frac{{{n}}}{{{d}}}", rf"\dfrac{{{3 * n}}}{{{3 * d}}}", rf"x = \tfrac{{{n}}}{{{d}}}"]
    if d == 1:
        out += [str(n), f"{n}.0", f"{n:,}", f"{n:,}".replace(",", "{,}"), f"{n:,}".replace(",", r"\,")]
    elif abs(n) > d:
        whole, rest = divmod(abs(n), d)
        out.append(rf"{'-' * (n < 0)}{whole}\frac{{{rest}}}{{{d}}}")
    if 10**6 % d == 0:
        out += [f"{float(x):.6f}", f"{float(x):.9e}"]
    return out


@given(fractions, st.data())
@settings(deadline=None)
def test_a_number_is_right_however_it_is_spelled(x: Fraction, data: st.DataObject) -> None:
    answer, gold = (data.draw(st.sampled_from(spellings(x))) for _ in range(2))
    assert same(answer, gold) is True, (answer, gold)


@given(fractions, fractions, st.data())
@settings(deadline=None)
def test_another_number_is_wrong(x: Fraction, y: Fraction, data: st.DataObject) -> None:
    assume(abs(x - y) > Fraction(3, 1_000_000) * max(abs(x), abs(y)))
    assume(x != 100 * y and y != 100 * x)
    answer, gold = data.draw(st.sampled_from(spellings(x))), data.draw(st.sampled_from(spellings(y)))
    assert same(answer, gold) is False, (answer, gold)


@given(st.floats(1, 9.99).map(lambda x: round(x, 2)), st.integers(-40, 40), st.floats(1.01, 5))
@settings(deadline=None)
def test_small_and_large_numbers_are_compared_relatively(mantissa: float, power: int, factor: float) -> None:
    gold = rf"{mantissa} \times 10^{{{power}}}"
    assert same(f"{mantissa}e{power}", gold) is True
    assert same(f"{mantissa * factor:.4f}e{power}", gold) is False


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms())
@settings(deadline=None)
def test_lists_have_no_order_and_tuples_have(numbers: list[int], rng: object) -> None:
    shuffled = list(numbers)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (", ".join(map(str, n)) for n in (numbers, shuffled))
    assert same(one, other) is True
    assert same(rf"\{{{one}\}}", other) is True
    assert same(f"({one})", f"({other})") is (numbers == shuffled)
    assert same(one, ", ".join(map(str, shuffled[:-1]))) is False
    assert same(", ".join(map(str, [*shuffled, 100])), one) is False


@given(st.integers(-50, 50), st.integers(1, 50), st.booleans(), st.booleans())
@settings(deadline=None)
def test_inequalities_are_intervals(low: int, length: int, low_open: bool, high_open: bool) -> None:
    high = low + length
    interval = f"{'(' if low_open else '['}{low}, {high}{')' if high_open else ']'}"
    chain = f"{low} {'<' if low_open else chr(92) + 'le'} x {'<' if high_open else chr(92) + 'le'} {high}"
    assert same(chain, interval) is True
    other = f"{'[' if low_open else '('}{low}, {high}{')' if high_open else ']'}"
    assert same(chain, other) is False
    assert same(other, interval) is False

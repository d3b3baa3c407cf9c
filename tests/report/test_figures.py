import re

import pytest

from mmcore.report.build import TEMPLATES
from mmcore.report.figures import COLOURS, bar, bins, histogram, line_chart, log_ticks, share, short, thin, ticks


def points_of(svg: str) -> list[tuple[float, float]]:
    found = re.search(r'points="([^"]+)"', svg)
    assert found
    return [tuple(map(float, pair.split(","))) for pair in found[1].split()]


def test_ticks_are_round_and_enclose_the_values():
    assert ticks(0, 7.3) == [0, 2, 4, 6, 8]
    assert ticks(0, 100) == [0, 25, 50, 75, 100]
    assert ticks(-3, 3) == [-4, -2, 0, 2, 4]


def test_ticks_of_a_single_value_are_still_an_axis():
    assert len(ticks(5, 5)) >= 2
    assert len(ticks(0, 0)) >= 2


def test_log_ticks_are_ones_twos_and_fives():
    assert log_ticks(0.3, 7) == [0.2, 0.5, 1, 2, 5, 10]
    assert log_ticks(0.001, 50) == [0.001, 0.01, 0.1, 1, 10, 100]


def test_a_line_goes_from_the_left_edge_to_the_right_and_down_as_values_fall():
    points = points_of(line_chart({"loss": [(0, 4.0), (50, 2.0), (100, 0.0)]}, label="loss"))
    assert points == [(44, 10), (228, 97), (412, 184)]


def test_an_axis_may_end_later_than_its_lines():
    assert points_of(line_chart({"loss": [(0, 4.0), (50, 2.0)]}, label="loss", end=100))[-1][0] == 228


def test_every_line_has_a_colour_of_its_own_as_far_as_there_are_some():
    style = (TEMPLATES / "style.css").read_text()
    for number in range(1, COLOURS + 1):
        assert style.count(f"--s{number}: #") == 2  # light and dark
        assert f".s{number} {{ stroke: var(--s{number}); }}" in style


def test_a_logarithmic_axis_makes_a_halving_a_straight_line():
    points = points_of(line_chart({"loss": [(0, 8.0), (1, 4.0), (2, 2.0)]}, label="loss", log=True))
    assert points[1][1] - points[0][1] == pytest.approx(points[2][1] - points[1][1], abs=0.11)


def test_a_single_point_is_a_dot():
    assert "<circle" in line_chart({"loss": [(8, 4.1)]}, label="loss")


def test_nothing_to_draw_draws_nothing():
    assert line_chart({}, label="loss") == ""
    assert histogram([], label="none") == ""


def test_a_chart_says_in_words_what_it_shows_and_escapes_names():
    svg = line_chart({"<b>": [(1, 1.0)]}, label='from "a" to <b>', dots=True)
    assert 'role="img" aria-label="from &#34;a&#34; to &lt;b&gt;"' in svg
    assert "<b>" not in svg


def test_thinning_takes_means_of_equal_stretches():
    assert thin([(0, 1.0), (1, 3.0), (2, 5.0), (3, 7.0)], 2) == [(0.5, 2.0), (2.5, 6.0)]
    assert thin([(0, 1.0)], 2) == [(0, 1.0)]


def test_a_bar_is_as_long_as_its_value_and_stays_inside():
    assert 'class="fill" x="0" y="5" width="100"' in bar(50, label="", marks={})
    assert 'class="fill" x="0" y="5" width="200"' in bar(140, label="", marks={})
    assert 'class="mark baseline" x="49"' in bar(50, label="", marks={"baseline": 25})
    assert 'width="50"' in share(1, 4, label="")
    assert 'width="0"' in share(0, 0, label="")


def test_bins_count_every_value_once():
    assert bins([0.0, 0.1, 0.9, 1.0], 2) == ([2, 2], 0.0, 1.0)
    assert bins([3.0, 3.0]) == ([2], 3.0, 3.0)
    assert bins([1, 2, 2, 4]) == ([1, 2, 0, 1], 1, 4)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (12.0, "12"), (1500, "1500"), (15000, "15k"), (3_200_000, "3.2M"), (-0.5, "-0.5")],
)
def test_numbers_on_axes_are_short(value, text):
    assert short(value) == text

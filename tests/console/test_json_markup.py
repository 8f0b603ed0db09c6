from headwater.console.json_markup import MOST_NODES, compact, differences, tree, visible


def test_values_are_told_apart_by_type():
    assert compact(1.5) == '<span class="v-number">1.5</span>'
    assert compact(True) == '<span class="v-boolean">true</span>'
    assert compact(None) == '<span class="v-null">null</span>'
    assert compact("a<b") == '<span class="v-text">a&lt;b</span>'


def test_a_long_value_is_shortened_and_the_rest_is_where_one_points():
    shown = compact("x" * 100)
    assert f">{'x' * 79}…<" in shown or f">{'x' * 80}…<" in shown
    assert f'title="{"x" * 100}"' in shown


def test_what_shows_nothing_is_written_out():
    assert visible("a\u202eb\u0000c\u200b") == "a\\u202eb\\u0000c\\u200b"
    assert visible("zwei\nZeilen\tü 漢字 🙂") == "zwei\nZeilen\tü 漢字 🙂"


def test_fields_that_differ_are_named_by_their_path():
    before = {"id": 1, "author": {"name": "a", "country": "de"}, "gone": None, "list": [1, 2]}
    after = {"id": 1, "author": {"name": "b", "country": "de"}, "list": [1, 3], "new": {"x": 1}}
    found = {one.path: (one.was, one.before, one.is_there, one.after) for one in differences(before, after)}
    assert found == {
        "author.name": (True, "a", True, "b"),
        "gone": (True, None, False, None),
        "list": (True, [1, 2], True, [1, 3]),
        "new": (False, None, True, {"x": 1}),
    }


def test_the_order_of_keys_is_no_difference_but_true_is_not_1():
    assert differences({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}) == []
    assert [one.path for one in differences({"a": 1}, {"a": True})] == ["a"]


def test_a_tree_is_bounded_whatever_the_document():
    shown = tree({"list": list(range(10 * MOST_NODES))})
    assert "more; see the text" in shown
    assert len(shown) < 150 * MOST_NODES

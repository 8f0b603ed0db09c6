import random

from headwater_client.cli.push.positions import Positions


def test_the_place_of_each_document_on_its_way_is_known():
    rng = random.Random(3)
    places, known, place = Positions(100), {}, 0
    arrived = 100
    for document in range(100, 2000):
        place += rng.choice([1, 1, 1, 2, 7])
        known[document] = place
        places.add(place)
        if rng.random() < 0.05:
            arrived = rng.randint(arrived, document)
            places.forget(arrived)
        if rng.random() < 0.1:
            asked = rng.randint(arrived, document)
            assert places.of(asked) == known[asked]


def test_a_place_that_was_never_told_is_not_known():
    assert Positions().of(0) is None

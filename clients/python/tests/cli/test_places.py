import random

from headwater_client.cli.pushing.places import Places


def test_the_place_of_each_document_on_its_way_is_known():
    dice = random.Random(3)
    places, known, place = Places(100), {}, 0
    arrived = 100
    for document in range(100, 2000):
        place += dice.choice([1, 1, 1, 2, 7])
        known[document] = place
        places.add(place)
        if dice.random() < 0.05:
            arrived = dice.randint(arrived, document)
            places.forget(arrived)
        if dice.random() < 0.1:
            asked = dice.randint(arrived, document)
            assert places.of(asked) == known[asked]


def test_a_place_that_was_never_told_is_not_known():
    assert Places().of(0) is None

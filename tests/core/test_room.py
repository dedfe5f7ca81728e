"""What images need on the disk, with shared layers counted once, and which of them fit."""

from __future__ import annotations

from coderunner import declarations
from coderunner.engine.room import (
    AGENT_BYTES,
    RESERVE_BYTES,
    UNKNOWN_BYTES,
    learned,
    needed,
    plan,
    read,
)
from coderunner.engine.sizes import Step
from coderunner.schema.languages import Layers, Sizes
from coderunner.schema.toml import read_toml

MB = 10**6
LAYERS = (
    Layers(200, ("c", "cpp", "lua")), Layers(300, ("c", "cpp")), Layers(10, ("c",)), Layers(40, ("cpp",)),
    Layers(5, ("lua",)),
)  # fmt: skip
ORDER = ["c", "cpp", "lua"]


def test_shared_layers_count_once_and_not_where_they_are_present():
    assert needed(LAYERS, ORDER, ()) == 555 * MB
    assert needed(LAYERS, ["cpp"], ()) == 540 * MB
    assert needed(LAYERS, ["cpp"], ["c"]) == 40 * MB
    assert needed(LAYERS, ["new"], ["c"]) == UNKNOWN_BYTES
    assert needed(LAYERS, [], []) == 0


def test_what_fits_is_named_in_the_order_of_demand():
    one = plan(LAYERS, ORDER, (), RESERVE_BYTES + 520 * MB, "/data")
    assert one.short
    assert (one.missing, one.usable, one.needed) == (("c", "cpp", "lua"), ("c", "lua"), 555 * MB)
    assert one.sentence() == (
        "3 images are to be built and need about 555 MB; /data has 1,594 MB free, of which 1,074 MB are to"
        " stay free: set LANGUAGES=c,lua, which fit, or free 35 MB"
    )
    assert one.sentence(choice=False).endswith(" are to stay free: free 35 MB")


def test_what_is_there_stays_usable_on_a_full_disk():
    one = plan(LAYERS, ORDER, {"cpp"}, 0, "/data")
    assert (one.short, one.usable) == (True, ("cpp",))
    assert not plan(LAYERS, ORDER, set(ORDER), 0, "/data").short


def test_after_an_upgrade_only_what_is_not_cached_needs_room():
    """With another agent each image is another one, on top of layers that the engine has."""
    free = RESERVE_BYTES + 3 * AGENT_BYTES
    one = plan(LAYERS, ORDER, (), free, "/data", cached=(*ORDER, "left-out"))
    assert (one.missing, one.needed, one.short) == (tuple(ORDER), 3 * AGENT_BYTES, False)
    two = plan(LAYERS, [*ORDER, "new"], ("c",), free, "/data", cached=("c", "cpp"))
    assert two.needed == AGENT_BYTES + 5 * MB + UNKNOWN_BYTES
    assert two.usable == ("c", "cpp")


def test_an_engine_elsewhere_is_not_judged():
    one = plan(LAYERS, ORDER, (), None, "/data")
    assert (one.short, one.usable) == (False, tuple(ORDER))
    assert one.sentence().endswith("is not known")


def test_sizes_are_learned_from_what_was_built():
    base, gcc = Step("base", 1, 200 * MB), Step("gcc", 2, 300 * MB)
    text = learned({
        "c": [base, gcc, Step("c", 3, 10 * MB)], "cpp": [base, gcc, Step("cpp", 4, 40 * MB - 1)],
        "lua": [base, Step("lua", 5, 5 * MB), Step("empty", 6, 0)],
    })  # fmt: skip
    assert set(read_toml(Sizes, text, "sizes.toml").layers) == set(LAYERS)


def test_every_language_has_its_size():
    known = {name for layer in read(declarations.FOLDER) for name in layer.languages}
    assert known == set(declarations.load().languages)

"""Images: names, removal and its conflicts, prune, history; Docker's words."""

from __future__ import annotations

import json

import pytest

from dockerlab.engine.model.image import Blob, ImageUser
from dockerlab.engine.store.store import Store
from dockerlab.errors import Conflict, InvalidRequest, NotFound
from dockerlab.oci import names
from tests.engine.store.conftest import Tar, unpack


def nobody(image_id):
    return []


def make(store, *texts, tags=(), parent="", author=""):
    layers = []
    for text in texts:
        layers.append(unpack(store, Tar().add(text, data=text.encode()).bytes(), layers))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "author": author,
        "created": f"2024-01-0{len(texts)}T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": text} for text in texts]
        + [{"created_by": "CMD", "empty_layer": True}],
    }
    image = store.images.put_sync(json.dumps(config).encode(), layers, parent=parent)
    for tag in tags:
        store.images.tag_sync(image.id, names.parse_complete(tag))
    return image


def outcome(removal):
    return [(step.kind, step.name) for step in removal.steps]


def test_images_are_found_by_name_id_and_prefix(store):
    image = make(store, "one", tags=["a", "docker.io/library/b:2"])
    hexadecimal = image.id[7:]
    by_name = ("a", "a:latest", "docker.io/library/a", "b:2")
    for name in (*by_name, image.id, hexadecimal, hexadecimal[:4]):
        assert store.images.resolve(name).id == image.id
    with pytest.raises(NotFound, match=r"^No such image: c:latest$"):
        store.images.resolve("c")
    with pytest.raises(NotFound, match=r"^No such image: sha256:0000"):
        store.images.resolve("0" * 64)
    with pytest.raises(InvalidRequest, match="must be lowercase"):
        store.images.resolve("Upper")


def test_a_name_beats_the_beginning_of_an_id(store):
    one = make(store, "one")
    two = make(store, "two", tags=[one.id[7:12]])
    assert store.images.resolve(one.id[7:12]).id == two.id
    assert store.images.resolve(one.id).id == one.id


def test_a_moved_tag_leaves_the_old_image_dangling(store):
    one = make(store, "one", tags=["a"])
    two = make(store, "two")
    assert store.images.tag_sync(two.id, names.parse_complete("a")) == one.id
    assert store.images.tags_of(one.id) == []
    assert store.images.is_dangling(one.id)


def test_removal_by_name(store):
    image = make(store, "one", tags=["a", "b"])
    digest = "sha256:" + "1" * 64
    store.images.tag_sync(image.id, names.parse("a").with_digest(digest))
    removal = store.images.remove_sync("a", users=nobody)
    assert outcome(removal) == [("untagged", "a:latest"), ("untagged", f"a@{digest}")]
    removal = store.images.remove_sync("b", users=nobody)
    assert outcome(removal) == [("untagged", "b:latest"), ("deleted", image.id)]
    assert removal.freed_bytes == 3
    assert list((store.root / "layers").iterdir()) == []
    assert list(store.blobs.list()) == []


CONFLICTS = [
    (["a", "b"], None, "ID", False, "ID (must be forced) - image is referenced in multiple repositories"),  # noqa: E501
    (["a"], False, "ID", False, "ID (must be forced) - image is being used by stopped container CID"),  # noqa: E501
    (["a"], True, "ID", True, "ID (cannot be forced) - image is being used by running container CID"),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize(("tags", "user", "name", "force", "message"), CONFLICTS)
def test_conflicts(store, tags, user, name, force, message):  # noqa: PLR0917
    image = make(store, "one", tags=tags)
    short = image.short_id
    users = [] if user is None else [ImageUser(container_id="c" * 64, running=user)]
    with pytest.raises(Conflict) as caught:
        store.images.remove_sync(
            short if name == "ID" else name, users=lambda _: users, force=force
        )
    message = message.replace("CID", "c" * 12).replace("ID", short)
    assert caught.value.message == f"conflict: unable to delete {message}"
    assert store.images.tags_of(image.id) == [f"{tag}:latest" for tag in tags]


def test_conflict_of_a_name(store):
    image = make(store, "one", tags=["a"])
    users = [ImageUser(container_id="c" * 64)]
    with pytest.raises(Conflict) as caught:
        store.images.remove_sync("a", users=lambda _: users)
    assert caught.value.message == (
        'conflict: unable to remove repository reference "a" (must force) - container '
        f"cccccccccccc is using its referenced image {image.short_id}"
    )


def test_force_takes_the_name_from_an_image_that_runs(store):
    image = make(store, "one", tags=["a"])
    users = [ImageUser(container_id="c" * 64, running=True)]
    removal = store.images.remove_sync("a", users=lambda _: users, force=True)
    assert outcome(removal) == [("untagged", "a:latest")]
    assert store.images.get(image.id)


def test_children_protect_and_parents_follow(store):
    parent = make(store, "one")
    child = make(store, "one", "two", tags=["c"], parent=parent.id)
    with pytest.raises(Conflict, match="image has dependent child images"):
        store.images.remove_sync(parent.id, users=nobody)
    removal = store.images.remove_sync("c", users=nobody)
    assert outcome(removal) == [
        ("untagged", "c:latest"),
        ("deleted", child.id),
        ("deleted", parent.id),
    ]


def test_layers_in_use_by_a_container_outlive_their_image(store):
    image = make(store, "one", tags=["a"])
    rootfs = store.snapshots.prepare("c1", image.layers)
    store.images.remove_sync("a", users=nobody)
    with store.snapshots.merged(rootfs):
        pass
    assert store.snapshots.remove("c1") == 3
    assert store.layers.rows.keys() == []


def test_prune(store):
    loose = make(store, "one")
    used = make(store, "two", tags=["u"])
    named = make(store, "three", tags=["n"])
    users = [ImageUser(container_id="c" * 64)]

    def who(image_id):
        return users if image_id == used.id else []

    removal = store.images.prune_sync(users=who, wanted=lambda _: True)
    assert outcome(removal) == [("deleted", loose.id)]
    removal = store.images.prune_sync(users=who, dangling=False, wanted=lambda _: False)
    assert outcome(removal) == []
    removal = store.images.prune_sync(users=who, dangling=False, wanted=lambda _: True)
    assert outcome(removal) == [("untagged", "n:latest"), ("deleted", named.id)]
    assert [image.id for image in store.images.list()] == [used.id]


def test_history_and_sizes(store):
    parent = make(store, "one", tags=["p"])
    image = make(store, "one", "second", tags=["a"], parent=parent.id)
    steps = [(s.image_id, s.created_by, s.size, s.tags) for s in store.images.history(image)]
    assert steps == [
        (image.id, "CMD", 0, ("a:latest",)),
        (parent.id, "second", 6, ("p:latest",)),
        ("<missing>", "one", 3, ()),
    ]
    assert image.size == 9
    assert store.images.shared_size(image) == 3
    assert store.images.layers_size() == 9


def test_layers_must_be_those_of_the_configuration(store):
    layer = unpack(store, Tar().add("x").bytes())
    with pytest.raises(InvalidRequest, match="diff ids"):
        store.images.put_sync(b'{"rootfs":{"diff_ids":[]}}', [layer])


def test_where_a_layer_came_from_adds_up(store):
    digest = "sha256:" + "2" * 64
    for source in ("docker.io/library/a", "docker.io/library/b", "docker.io/library/a"):
        blob = Blob(digest=digest, size=1, media_type="x", sources=(source,), kept=False)
        store.images.note_blob(digest, blob)
    assert store.images.blobs_of(digest)[0].sources == (
        "docker.io/library/a",
        "docker.io/library/b",
    )


def test_all_of_it_is_there_for_the_next_engine(store):
    image = make(store, "one", tags=["a"])
    rootfs = store.snapshots.prepare("c1", image.layers)
    store.close()
    again = Store.open(store.root)
    assert again.images.resolve("a") == store.images.resolve("a")
    assert again.snapshots.rootfs("c1") == rootfs
    again.close()


def test_one_engine_at_a_time(store):
    with pytest.raises(Conflict, match="another engine uses"):
        Store.open(store.root)

"""`corrcore network ...`, and `--network` with `--weights` on the commands that describe images."""

import hashlib

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from corrcore import images, networks
from corrcore.cli.opening import open_network
from corrcore.descriptors.sift import Sift
from corrcore.experiments import Context, Transfer, run
from corrcore.networks.overview import overview
from tests.networks import tiny

HERE = "tests.cli.test_network"


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """No weights but those embedded, and a folder of results of their own."""
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def make_tiny() -> nn.Module:
    """What `--network tests.cli.test_network:make_tiny` asks for."""
    module = tiny.build()[:5]
    module.load_state_dict({name: value for name, value in tiny.weights().items() if not name.startswith("7.")})
    return module


def make_sift() -> Sift:
    return Sift("cpu")


def make_nothing() -> str:
    return "nothing"


# --- corrcore network ------------------------------------------------------------------------------------------------


def test_list_names_networks_and_where_their_weights_are(run, capsys, nothing_here):
    (nothing_here / "resnet50.pth").touch()
    assert run("network", "list") == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["alexnet"] == ["alexnet", "embedded"]
    assert lines["vgg16"] == ["vgg16", "not", "here"]
    assert lines["resnet50"] == ["resnet50", "torchvision:resnet50", str(nothing_here / "resnet50.pth")]
    assert set(lines) >= {*networks.names(), *networks.aliases()}


def test_list_here_and_of_a_family(run, capsys, nothing_here):
    (nothing_here / "torchvision-vgg11.pth").touch()
    assert run("network", "list", "--family", "torchvision", "--here") == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split() for row in rows] == [["torchvision:vgg11", str(nothing_here / "torchvision-vgg11.pth")]]
    assert run("network", "list", "--family", "torchvision") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(networks.family_names("torchvision"))
    assert run("network", "list", "--family", "keras") == 2
    assert "family must be one of torchvision, timm; got 'keras'." in capsys.readouterr().err


def test_show_has_layers_by_depth_without_weights(run, capsys):
    assert run("network", "show", "vgg16") == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("  ")}
    assert [name for name in rows if name in networks.spec("vgg16").layers] == [*networks.spec("vgg16").layers]
    assert rows["conv5_3"][1:8] == ["512", "196", "px", "16", "px", "7.5", "px"]
    assert "transfer" in " ".join(rows["conv5_3"])
    assert "the weights of vgg16 (vgg16-397923af.pth) are not on this machine; `corrcore network fetch vgg16`" in out


def test_show_has_the_weights_given(run, capsys, tmp_path):
    torch.save({"model": torchvision.models.squeezenet1_1().state_dict()}, tmp_path / "it.pth")
    network = networks.open("squeezenet", weights=tmp_path / "it.pth", device="cpu")
    assert run("network", "show", "squeezenet", "--weights", tmp_path / "it.pth") == 0
    out = capsys.readouterr().out
    assert out.startswith("torchvision:squeezenet1_1\n")
    assert f"weights {tmp_path / 'it.pth'}, digest {network.digest[:8]}" in out
    assert run("network", "show", "squeezenet", "--weights", tmp_path / "none.pth") == 2
    assert f"there is no file of weights {tmp_path / 'none.pth'}" in capsys.readouterr().err


def test_show_says_what_sees_the_whole_image(run, capsys):
    pytest.importorskip("timm")
    assert run("network", "show", "timm:test_vit") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  blocks")]
    assert rows
    assert all(row[1:5] == ["64", "the", "whole", "image"] for row in rows)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet"])
def test_channels_and_places_are_those_of_grids(name):
    spec = networks.spec(name)
    weights = None if name == "alexnet" else spec.build().state_dict()
    network = spec.open(weights=weights, device="cpu")
    layers = overview(spec)
    assert tuple(layer.name for layer in layers) == network.layers
    grids = network.extract(torch.zeros(300, 300, 3, dtype=torch.uint8).numpy(), network.layers)
    for layer in layers:
        assert layer.channels == grids[layer.name].descriptors.shape[-1]
        assert layer.receptive_field == network.receptive_field(layer.name)
        assert ("transfer" in layer.roles) == (network.roles.transfer == layer.name)


def test_fetch_asks_the_librarys_own_loader(run, capsys, tmp_path):
    target = tmp_path / "torch" / "hub" / "checkpoints" / "brief.pth"
    target.parent.mkdir(parents=True)
    asked = []

    def fetch():
        asked.append("brief")
        target.write_bytes(b"content")

    spec = networks.ModuleSpec("brief", tiny.build, checkpoint="brief.pth", fetch=fetch)
    networks.register(spec)
    try:
        assert run("network", "fetch", "brief") == 0
    finally:
        networks.unregister("brief")
    assert asked == ["brief"]
    assert capsys.readouterr().out == f"{target}\nsha256 {hashlib.sha256(b'content').hexdigest()}\n"


@pytest.mark.parametrize("name", ["caffenet", "nothing"])
def test_what_cannot_be_fetched_is_one_sentence(run, capsys, name):
    assert run("network", "fetch", name) == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert "put caffenet.safetensors" in told if name == "caffenet" else "network must be one of alexnet" in told


# --- --network and --weights -----------------------------------------------------------------------------------------


def test_a_function_of_ones_own_makes_a_network():
    network = open_network(f"{HERE}:make_tiny")
    assert network.name == f"{HERE}:make_tiny"
    assert network.digest == networks.from_module(make_tiny(), name=network.name).digest
    assert isinstance(open_network(f"{HERE}:make_sift"), Sift)


def test_a_function_in_the_current_folder_is_found(tmp_path, monkeypatch):
    lines = "from torch import nn", "def build():", "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())"
    (tmp_path / "made_here.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert open_network("made_here:build").receptive_field("1").size == 3


def test_weights_are_put_into_ones_own_module(tmp_path):
    other = {f"module.{name}": value * 2 for name, value in make_tiny().state_dict().items()}
    save_file(other, tmp_path / "other.safetensors")
    plain, own = open_network(f"{HERE}:make_tiny"), open_network(f"{HERE}:make_tiny", tmp_path / "other.safetensors")
    doubled = make_tiny()
    doubled.load_state_dict({name.removeprefix("module."): value for name, value in other.items()})
    assert own.digest != plain.digest
    assert own.digest == networks.from_module(doubled, name=own.name).digest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no.such.module:make"], "or package.module:function; no.such.module:make is none of them (No module named"),
        ([f"{HERE}:nothing"], f"must name a function; the module {HERE} has none of that name."),
        (
            ["json:loads"],
            "json:loads must name a function that takes nothing (missing a required argument",
        ),
        (["resnet18"], "or a library's such as torchvision:resnet18"),
        ([f"{HERE}:make_nothing"], f"{HERE}:make_nothing must return a torch module or an extractor; got str."),
        ([f"{HERE}:make_sift", "--weights", "a.pth"], "make_sift returns an extractor, which has its own."),
        (["lenet"], "network must be one of alexnet, vgg16"),
        (["torchvision:lenet"], "torchvision's networks are alexnet"),
        (["vgg16"], "the weights of vgg16 (vgg16-397923af.pth) are not on this machine"),
    ],
    ids=str,
)
def test_what_is_no_network_is_one_sentence(run, capsys, words, told):
    assert run("evaluate", "transfer", "--data", "toy", "--categories", "toy cat", "--network", *words) == 2
    err = capsys.readouterr().err.strip()
    assert told in err
    assert err.count("\n") == 0


def test_no_network_of_the_registry_is_opened_by_a_module_and_a_function():
    with pytest.raises(ValueError, match="network must be one of"):
        networks.open(f"{HERE}:make_tiny")


def test_a_table_of_ones_own_weights(run, capsys, tmp_path):
    torch.save({"state_dict": torchvision.models.squeezenet1_1().state_dict()}, tmp_path / "it.pth")
    network = networks.open("squeezenet", weights=tmp_path / "it.pth", device="cpu")
    words = ["--network", "squeezenet", "--weights", tmp_path / "it.pth"]
    out = tmp_path / "out"
    asked = ["--data", "toy", "--categories", "toy cat", "--features", "features.7", "--limit", 1, "--iterations", 2]
    assert run("evaluate", "transfer", *asked, "--out", out, *words) == 0, capsys.readouterr().err
    folders = [path.name for path in out.iterdir() if path.is_dir()]
    assert [name.split()[-1] for name in folders] == ["torchvision-squeezenet1_1"]
    assert all(":" not in path.name for path in out.rglob("*"))
    assert network.digest in next(out.rglob("*.jsonl")).read_text()


def test_an_alias_is_the_network_in_full(tmp_path):
    state = torchvision.models.squeezenet1_1().state_dict()
    network = networks.open("squeezenet", weights=state, device="cpu")
    context = Context(opened_networks={network.name: network})
    kinds = [
        Transfer("toy", "toy cat", network=name, features=(f"{prefix}features.7",), limit=1, iterations=1)
        for name in ("squeezenet", "torchvision:squeezenet1_1")
        for prefix in ("", "squeezenet:", "torchvision:squeezenet1_1:")
    ]
    resolved = {kind.resolved(context) for kind in kinds}
    assert len(resolved) == 1
    assert resolved.pop().network == "torchvision:squeezenet1_1"
    assert run(kinds[0], context=context).experiment.network == "torchvision:squeezenet1_1"


def test_an_index_of_ones_own_weights_is_evaluated_with_them(run, capsys, tmp_path, small_photos):
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "it.pth")
    (tmp_path / "photos").mkdir()
    for one in small_photos[-2:]:
        (tmp_path / "photos" / one.name).write_bytes(images.encode(one.pixels, format="PNG"))
    words = ["--network", "squeezenet", "--weights", tmp_path / "it.pth"]
    build = ["index", "build", tmp_path / "photos", "--name", "own", "--layers", "features.7"]
    assert run(*build, *words) == 0, capsys.readouterr().err
    asked = ["evaluate", "localisation", "--photos", tmp_path / "photos", "--index", "own", "--every", "--limit", 1]
    assert run(*asked, "--weights", tmp_path / "it.pth") == 0, capsys.readouterr().err
    assert run(*asked, *words, "--out", tmp_path / "again") == 0, capsys.readouterr().err
    assert run(*asked, "--out", tmp_path / "third") == 2
    assert "the weights of torchvision:squeezenet1_1 (" in capsys.readouterr().err

"""The magics in a real IPython, against a real host."""

from __future__ import annotations

import json

import pytest

from dockerlab.errors import InvalidRequest, NotFound
from dockerlab.notebook.errors import ProgramFailed


def test_a_program_runs_and_its_output_is_kept(docker, image, capfd):
    ran = docker(f"run --rm {image} sh -c 'echo out; echo err >&2'")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "out\n", "err\n")
    assert "out" in capfd.readouterr().out
    assert "exit status 0" in repr(ran)


def test_another_status_than_0_stops_the_notebook(docker, image):
    with pytest.raises(ProgramFailed) as caught:
        docker(f"run --rm {image} sh -c 'exit 3'")
    assert caught.value.result.exit_code == 3


def test_no_raise_error_goes_on(docker, image):
    assert docker(f"run --rm --no-raise-error {image} sh -c 'exit 3'").exit_code == 3


def test_out_keeps_the_output_in_a_variable(shell, docker, image):
    docker(f"run --rm --out kept {image} echo hello")
    assert shell.user_ns["kept"] == "hello\n"


def test_python_variables_are_filled_in(shell, docker, image):
    shell.user_ns.update(chosen=image, words=["one two"])
    assert docker("run --rm {chosen} echo {words[0]} {nothing}").stdout == "one two {nothing}\n"


def test_a_life_in_the_background(docker, image, name):
    made = docker(f"run -d --name {name} {image} sh -c 'echo begun; echo bad >&2; sleep 60'")
    assert len(str(made)) == 64
    assert name in docker("ps").df.index
    assert docker(f"exec {name} echo inside").stdout == "inside\n"
    logs = docker(f"logs {name}").df
    assert set(logs.line) == {"begun", "bad"}
    assert docker(f"inspect {name}")["State"]["Running"]
    assert docker(f"inspect --format '{{{{.State.Status}}}}' {name}").text() == "running"
    assert "sleep" in docker(f"top {name}").text()
    assert docker(f"stats --no-stream {name}").df.loc[name, "pids"] >= 1
    docker(f"stop -t 0 {name}")
    assert docker("ps -a").df.loc[name, "state"] == "exited"
    docker(f"rm {name}")
    assert name not in docker("ps -a").df.index


def test_container_cell(shell, image, capfd):
    ran = shell.run_cell_magic("container", f"--hostname lab {image}", "hostname; echo $((6*7))")
    assert ran.stdout == "lab\n42\n"
    assert "42" in capfd.readouterr().out


def test_container_cell_leaves_nothing(shell, docker, image):
    before = len(docker("ps -a"))
    with pytest.raises(ProgramFailed):
        shell.run_cell_magic("container", image, "exit 4")
    assert len(docker("ps -a")) == before


def test_dockerfile_cell_and_its_layers(shell, docker, image, capfd):
    name = f"{image}-built"
    recipe = f"FROM {image}\nRUN echo hello > /greeting\nRUN rm /greeting\nENV LAB=1\n"
    built = shell.run_cell_magic("dockerfile", f"-t {name}", recipe)
    try:
        assert "Step 2/4" in capfd.readouterr().out
        assert list(built.df.instruction)[1] == "RUN echo hello > /greeting"
        layers = docker(f"layers {name}")
        assert list(layers.df["added"])[-2:] == [1, 0]
        assert list(layers.df["removed"])[-2:] == [0, 1]
        entries = layers.entries
        assert list(entries[entries.path == "greeting"]["mark"]) == ["added", "removed"]
        assert docker(f"history {name}").df["size"].dtype == "int64"
        again = shell.run_cell_magic("dockerfile", f"-t {name}", recipe)
        assert list(again.df.cached)[1:3] == [True, True]
    finally:
        docker(f"rmi {name}")


def test_a_bad_instruction_is_named(shell, image):
    with pytest.raises(Exception, match=r"(?i)unknown instruction: RUM"):
        shell.run_cell_magic("dockerfile", "", f"FROM {image}\nRUM x\n")


def test_help_and_close_matches(docker):
    assert "--hostname" in repr(docker("run --help"))
    with pytest.raises(InvalidRequest) as verb:
        docker("imagse")
    assert verb.value.hint == "Did you mean images?"
    with pytest.raises(InvalidRequest) as flag:
        docker("run --nmae x y")
    assert flag.value.hint == "Did you mean --name?"


def test_errors_have_a_hint_and_no_traceback(docker):
    with pytest.raises(NotFound) as caught:
        docker("logs nobody-has-this-name")
    shown = caught.value._render_traceback_()
    assert "No such container" in shown[0]
    assert "%docker ps -a" in shown[1]
    assert len(shown) == 2


def test_a_host_that_is_gone_is_named(docker):
    with pytest.raises(Exception, match=r"Cannot connect to the Docker daemon at unix:///nowhere"):
        docker("host unix:///nowhere.sock")
    docker("host default")
    assert docker("ps") is not None


def test_network_and_volume(docker, image, name):
    docker(f"network create {name}")
    try:
        assert docker("network ls").df.loc[name, "driver"] == "bridge"
    finally:
        docker(f"network rm {name}")
    docker(f"volume create {name}")
    try:
        kept = f"run --rm -v {name}:/data {image}"
        docker(f"{kept} sh -c 'echo here > /data/file'")
        assert docker(f"{kept} cat /data/file").stdout == "here\n"
    finally:
        docker(f"volume rm {name}")


def test_inspect_can_be_unfolded(docker, image):
    found = docker(f"inspect {image}")
    assert json.loads(found.text())[0]["Id"].startswith("sha256:")
    assert "<details" in found.html()
    assert found.df.loc[image, "Architecture"]

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_files_keep_the_compose_specification(deploy):
    """Both compose files are valid by the schema of the Compose specification."""
    files = sorted((deploy / "compose").glob("compose*.yml"))
    assert len(files) == 2
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_every_service_is_hardened(compose):
    """No service may write its image, has a capability, or gains one."""
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_ports_are_on_loopback(compose):
    """Nothing is reachable from another host unless its owner says so."""
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned(compose):
    """Every image has a full version."""
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_mounts_exist(compose, deploy):
    """Every mounted file exists, is mounted read-only, and every volume is declared."""
    for service in compose["services"].values():
        for mount in service["volumes"]:
            source, _, *mode = mount.split(":")
            if source.startswith("."):
                assert (deploy / "compose" / source).exists(), mount
                assert mode == ["ro"], mount
            else:
                assert source in compose["volumes"], mount


def test_keys_of_tenants_come_from_a_file(compose):
    """A key that the settings name reaches the container, and a host without tenants needs no file."""
    (keys,) = compose["services"]["joulegate"]["env_file"]
    assert keys == {"path": "./secrets.env", "required": False}


def test_gpu_file_changes_a_known_service(compose, deploy):
    """The addition for GPUs is about a service of the main file and asks for no more than reading."""
    gpu = yaml.safe_load((deploy / "compose" / "compose.gpu.yml").read_text(encoding="utf-8"))
    assert set(gpu["services"]) <= set(compose["services"])
    (device,) = gpu["services"]["joulegate"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu", "utility"]


def test_prometheus_accepts_its_configuration_and_our_rules(deploy, root, program, tmp_path):
    """promtool accepts the configuration with the rules where the container sees them."""
    shutil.copy(deploy / "compose" / "prometheus.yml", tmp_path)
    shutil.copytree(root / "grafana" / "rules", tmp_path / "rules")
    output = run(program("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert "2 rule files" in output


def test_prometheus_scrapes_the_job_that_the_rules_expect(deploy, compose):
    """The scrape job is named joulegate and goes to the service's admin port."""
    config = yaml.safe_load((deploy / "compose" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "joulegate"
    assert job["static_configs"][0]["targets"] == ["joulegate:9464"]
    settings = tomllib.loads((deploy / "compose" / "joulegate.toml").read_text(encoding="utf-8"))
    assert settings["listen"]["admin"].endswith(":9464")
    assert "127.0.0.1:9464:9464" in compose["services"]["joulegate"]["ports"]


def test_alertmanager_accepts_its_configuration(deploy, program):
    """amtool accepts the configuration."""
    run(program("amtool"), "check-config", deploy / "compose" / "alertmanager.yml")


@pytest.mark.parametrize("severity", ["page", "ticket", "info"])
def test_alerts_reach_their_receiver(deploy, program, severity):
    """Each severity has a receiver of its own."""
    file = deploy / "compose" / "alertmanager.yml"
    output = run(
        program("amtool"), "config", "routes", "test", f"--config.file={file}", f"severity={severity}"
    )
    assert output.strip() == severity


def test_inhibitions_name_shipped_alerts(deploy, alert_names):
    """Every alert that inhibits or is inhibited is one that is shipped."""
    config = yaml.safe_load((deploy / "compose" / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = matcher.split("=", 1)[1].removeprefix("~").strip()
            assert any(re.fullmatch(pattern, name) for name in alert_names), matcher


def test_settings_are_valid(deploy):
    """joulegate accepts the container's settings."""
    run(sys.executable, "-m", "joulegate", "check", "--config", deploy / "compose" / "joulegate.toml")


def test_grafana_finds_board_and_data(compose, root):
    """What is provisioned is where the containers see it, under the names that they use."""
    provider = yaml.safe_load((root / "grafana/provisioning/dashboards/joulegate.yml").read_text("utf-8"))
    folder = provider["providers"][0]["options"]["path"]
    grafana = compose["services"]["grafana"]
    assert f"../../grafana/dashboards:{folder}:ro" in grafana["volumes"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(folder)
    assert (root / "grafana/dashboards" / home.name).exists()
    source = yaml.safe_load((root / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8"))
    assert source["datasources"][0]["url"] == "http://prometheus:9090"

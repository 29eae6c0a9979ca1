"""Checks what `docker-compose config` makes of deploy/compose.yaml, which is read from standard input.

Needs PyYAML.
"""

import pathlib
import re
import sys

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[1]


def seconds(text):
    """Reads a duration of compose, such as 45s or 1m30s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def drain_seconds(configuration):
    """Returns the longest time that a gateway with this configuration takes to end."""
    found = dict(re.findall(r'^(drain|drain-notice) = "(\d+)s"', configuration, re.MULTILINE))
    return int(found["drain"]) + int(found["drain-notice"])


def main():
    services = yaml.safe_load(sys.stdin)["services"]
    gateways = {name for name in services if re.fullmatch(r"gateway(-\d)?", name)}
    assert "gateway" in gateways
    for name, service in services.items():
        assert service.get("read_only") is True, f"{name}: the root file system is writable"
        assert service.get("cap_drop") == ["ALL"], f"{name}: has capabilities"
        assert service.get("security_opt") == ["no-new-privileges:true"], f"{name}: can gain privileges"
        if "profiles" not in service:
            others = [other for other in service.get("depends_on", []) if "profiles" in services[other]]
            assert not others, f"{name}: needs {others}, which its profile does not start"
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), f"{name}: {port} is published beyond the loopback"
    members = {name for name, service in services.items() if "api" in (service.get("networks") or {})}
    assert members == gateways | {"api"}, f"who reaches the API: {members}"
    assert set(services["api"]["networks"]) == {"api"} and "ports" not in services["api"]
    files = ["demo/purposegate.toml", "cluster/purposegate.toml"]
    longest = max(drain_seconds((DEPLOY / file).read_text()) for file in files)
    for name in gateways:
        grace = seconds(services[name]["stop_grace_period"])
        assert grace >= longest + 5, f"{name}: is killed after {grace} s, but drains for up to {longest} s"
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            assert not source.startswith("/") or pathlib.Path(source).exists(), f"{name}: there is no {source}"


main()

"""Values of the right shape must also make sense."""

from collections.abc import Callable

import pytest

from joulegate.config.addresses import Endpoint
from joulegate.config.load import load
from joulegate.config.structs import AttributionConfig, Config, UpstreamConfig
from joulegate.config.validate import problems
from joulegate.errors import ConfigError

Refusal = Callable[[str], list[str]]
HEAD = '[[upstream]]\nname = "a"\nurl = "http://127.0.0.1:8000"\n'


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ('[listen]\naddress = "x"', "listen.address: 'x' is no address"),
        ('[listen]\nadmin = "x"', "listen.admin: 'x' is no address"),
        ('[listen]\naddress = "127.0.0.1:9464"', "listen.admin: '127.0.0.1:9464' is also listen.address"),
        ("[listen]\ngates = -1", "listen.gates: -1 is not between 0 and 1024"),
        ('[energy]\nperiod = "1"', "energy.period: '1': the unit is missing"),
        ('[energy]\nperiod = "2 h"', "energy.period: '2 h' is not between 1 ms and 60 s"),
        ('[energy]\ndeadline = "0 s"', "energy.deadline: '0 s' is not between"),
        ('[ledger]\nkeep_requests = "1 s"', "ledger.keep_requests: '1 s' is not between 60 s and"),
        ('[timeout]\nidle = "x"', "timeout.idle: 'x' is no duration"),
        ('[carbon]\nzone = "fr"', "carbon.zone: 'fr' is no zone"),
        ('[carbon]\nintensity = "56 kg/kWh"', "carbon.intensity: '56 kg/kWh' is more than 2000 g/kWh"),
        ('[carbon]\nintensity = "x"', "carbon.intensity: 'x' is no carbon intensity"),
        ("[carbon]\npue = 0.5", "carbon.pue: 0.5 is not between 1 and 10"),
        ("[carbon]\npue = nan", "carbon.pue: nan is not between"),
        ('[[budget]]\nname = "b"\nlimit = "0 kg"', "budget[0].limit: '0 kg' allows nothing"),
        (
            '[[budget]]\nname = "b"\nlimit = "1 kg"\ntimezone = "Mars"',
            "budget[0].timezone: 'Mars' is no time zone",
        ),
        ('[[budget]]\nname = "b"\nlimit = "1 kg"\ntimezone = "../../etc/passwd"', "budget[0].timezone"),
        ('[[budget]]\nname = "b"\nlimit = "1 kg"\nmatch.task = "chatt"', "budget[0].match.task"),
        (
            '[[budget]]\nname = "b"\nlimit = "1 kg"\nmatch.upstream = "b"',
            "budget[0].match.upstream: 'b' is not known",
        ),
        (
            '[[budget]]\nname = "b"\nlimit = "1 kg"\nmatch.tenant = "t"',
            "budget[0].match.tenant: 't' is not known",
        ),
        ('[[tenant]]\nname = ""\nkey_env = "A"', "tenant[0].name"),
        (
            '[[tenant]]\nname = "t"\nkey_env = "sk-canary"',
            "tenant[0].key_env: is no name of an environment variable",
        ),
    ],
)
def test_one_slip_gives_one_line(section: str, what: str, refusal: Refusal) -> None:
    """Each wrong value gives one line with its file, line and key."""
    (line,) = refusal(HEAD + section)
    assert line.startswith("joulegate.toml:")
    assert what in line
    assert "canary" not in line


def test_names_are_unique(refusal: Refusal) -> None:
    """Budgets and tenants are told apart by their names."""
    twice = '[[budget]]\nname = "b"\nlimit = "1 kg"\n[[tenant]]\nname = "t"\nkey_env = "T"\n' * 2
    assert len(refusal(HEAD + twice)) == 2


def test_plugin_names_are_checked_against_those_there_are() -> None:
    """An unknown source, option table, carbon source or exporter is named with the choices."""
    config = Config(
        upstream=(UpstreamConfig("a", (Endpoint("http", "h", 80),)),),
        exporters=("promethus",),
        attribution=AttributionConfig("token"),
    )
    plugins = {"sources": ["nvml"], "rules": ["tokens"], "carbon": ["static"], "exporters": ["prometheus"]}
    found = [(problem.path, problem.what) for problem in problems(config, plugins)]
    assert [path for path, _ in found] == [("attribution", "method"), ("carbon", "source"), ("exporters", 0)]
    assert "did you mean 'tokens'?" in found[0][1]
    assert "did you mean 'prometheus'?" in found[2][1]
    assert not problems(config, {})


def test_unknown_source(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A source that no plug-in offers is refused where the names are known."""
    path = tmp_path_factory.mktemp("config") / "c.toml"
    path.write_text(HEAD + '[energy]\nsource = "nvlm"\n[energy.options.raple]\n')
    with pytest.raises(ConfigError, match=r"(?s)'nvml'.*'rapl'"):
        load(path, plugins={"sources": ["nvml", "rapl"]})

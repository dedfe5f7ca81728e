from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from coderunner.config import SETTINGS, Settings, example_text, load, settings_table
from coderunner.errors import ConfigError
from coderunner.schema.forms import show_size, size
from coderunner.schema.settings import EXAMPLE_ADMIN_KEY

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef0123456789abcdef"
PRODUCTION = {"APP_ENV": "production", "ADMIN_KEY": KEY, "ALLOWED_HOSTS": "run.example.com"}

BAD = {
    "PORT": ["-1", "65536", "1e3", "８０", "3000.0"],
    "DOCKER_CPUS": ["nan", "0", "inf", "1_0", "1e1", "١", "1,5", "-1"],
    "DOCKER_MEMORY": ["256mx", "1.5g", "-1"],
    "DISK_READ_LIMIT": ["50m", "/dev/sda", "/dev/sda:", "/dev/sda:50", "sda:50m", "/dev/../etc:50m", ":50m"],
    "QUEUE_TIMEOUT": ["60s"],
    "CGROUP_PARENT": ["a b", "/a/../b", "//", "/a/", "..", "-.slice/"],
    "HOST": ["http://x", "a b", "256.1.1.1", "127.1", "[::1", "127.0.0.1:80", "a..b"],
    "ALLOWED_ORIGINS": ["https://a.com/", "a.com", "*", "null"],
    "ALLOWED_HOSTS": [
        "https://a.com", " , ,", "*", "a b", "::1", "a.com:99999", "a..com", "a.com:８０", "*.a.com",
        "a.com/x",
    ],
    "TRUSTED_PROXIES": [
        "10.0.0.0/99", "localhost", "0.0.0.0/0", "::/0", "0.0.0.0/1", "127.0.0.1,::ffff:0:0/96", "::/16",
        "10.0.0.0/7", "2000::/3", "*", "10.0.0.5/8", "10.0.0.1;10.0.0.2", ",",
    ],
    "DOCKER_HOST": [
        "docker", "tcp://10.0.0.1", "tcp://10.0.0.1:", "tcp://:2375", "tcp://10.0.0.1:99999",
        "tcp://10.0.0.1:0", "https://a b:1", "http://u:p@h:2375", "unix://", "unix://run/docker.sock",
        "unix:/run/docker.sock", "ssh://h", "tcp://10.0.0.1:2375/x", "tcp://1.2.3:1",
    ],
    "INSTANCE_NAME": ["My Server"],
    "CANARY": ["yes"],
    "APP_ENV": ["test", "prod"],
    "LANGUAGES": [",", "python bash"],
    "STATE_DIR": ["~/state", "$HOME/state", "a\nb"],
    "ADMIN_KEY": [
        "$(openssl rand -hex 32)", "${ADMIN_SECRET_OF_THE_WHOLE_SYSTEM}",
        "`openssl`rand`hex`0123456789abcdefghij", "ключключключключключключключключключключ",
        "$ADMIN_SECRET_OF_THE_WHOLE_SYSTEM", "a b c d e f g h i j k l m n o p q r",
    ],
}  # fmt: skip


def problems(environ=None, text=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ or {}, text)
    return caught.value.problems


class TestDeclarations:
    def test_each_setting_is_a_field_and_each_field_a_setting(self):
        assert [s.field for s in SETTINGS] == [f.name for f in fields(Settings)]

    def test_names_are_unique_and_helped(self):
        assert len({s.name for s in SETTINGS}) == len(SETTINGS)
        for setting in SETTINGS:
            assert setting.name == setting.name.upper()
            assert setting.help.strip(), setting.name

    @pytest.mark.parametrize("app_env", ["development", "production"])
    def test_each_default_is_a_good_value(self, app_env):
        for setting in SETTINGS:
            text = setting.default_for(app_env)
            assert text == "" or setting.parse(text) is not None

    def test_the_names_of_the_first_system_are_all_there(self):
        names = """APP_ENV HOST PORT LOG_LEVEL LOG_FORMAT WORKER_THREADS MAX_CONCURRENT_SESSIONS
            MAX_QUEUE_SIZE QUEUE_TIMEOUT DOCKER_MEMORY DOCKER_CPUS DOCKER_TIMEOUT DOCKER_CMD_TIMEOUT
            SESSION_TTL CLEANUP_INTERVAL NETWORK_PREFIX MAX_FILE_SIZE MAX_FILES_PER_SESSION
            ALLOWED_ORIGINS ADMIN_KEY"""
        assert set(names.split()) <= {s.name for s in SETTINGS}


class TestDefaults:
    def test_development(self):
        settings = load({})
        assert not settings.production
        assert (settings.host, settings.port, settings.log_format) == ("127.0.0.1", 3000, "text")
        assert (settings.max_concurrent_sessions, settings.max_queue_size) == (50, 200)
        assert (settings.queue_timeout, settings.worker_threads) == (60_000, 4)
        assert (settings.docker_memory, settings.docker_cpus) == (256 * 1024**2, 1.0)
        assert (settings.admin_key, settings.docker_host, settings.docker_runtime) == (None, None, None)
        assert (settings.languages, settings.allowed_origins, settings.trusted_proxies) == ((), (), ())

    def test_production(self):
        settings = load(PRODUCTION)
        assert settings.production
        assert settings.log_format == "json"
        assert settings.sessions_per_address == 10
        assert settings.trusted_proxies == ("127.0.0.1/32", "::1/128")

    def test_each_checkout_has_a_name_of_its_own(self, tmp_path, monkeypatch):
        """So that `make run` in one never has the name of a server beside it."""
        names = set()
        for folder in ("one", "other"):
            (tmp_path / folder).mkdir()
            monkeypatch.chdir(tmp_path / folder)
            names.add(load({}).instance_name)
            assert load({}).instance_name in names  # the same at each start
        assert len(names) == 2
        assert load(PRODUCTION).instance_name == "coderunner" not in names
        assert load({"INSTANCE_NAME": "mine"}).instance_name == "mine"

    def test_the_file_is_read_and_the_environment_goes_before_it(self):
        settings = load({"PORT": "9000"}, "PORT=8000\nHOST=localhost\n")
        assert (settings.port, settings.host) == (9000, "localhost")

    def test_an_empty_value_is_the_default(self):
        assert load({"PORT": ""}, "LOG_LEVEL=\nDOCKER_CPUS=  # none\n") == load({})

    def test_other_names_in_the_environment_are_none_of_ours(self):
        others = """PATH PROT HOSTNAME HOSTTYPE LANGUAGE LANG LOGNAME DOCKER_CONFIG DOCKER_CONTEXT PORTS
            DOCKER_CERT_PATH DOCKER_TLS_VERIFY STATE_DIRECTORY RUNTIME_DIRECTORY SESSION_MANAGER INVOCATION_ID
            JOURNAL_STREAM NOTIFY_SOCKET LISTEN_FDS NO_PROXY XDG_SESSION_ID CODERUNNER_PORT ADMIN DEBUG"""
        assert load(dict.fromkeys(others.split(), "x")) == load({})

    def test_a_secret_is_not_shown(self):
        assert KEY not in repr(load(PRODUCTION))


class TestFile:
    @pytest.mark.parametrize(
        ("line", "port"),
        [
            ("PORT=1", 1), ("PORT = 2", 2), ("export PORT=3", 3), ('PORT="4"', 4), ("PORT='5'  # five", 5),
            ("PORT=6 # six", 6), ("  PORT=7  ", 7), ("\ufeffPORT=8", 8), ("PORT=9\r", 9),
        ],
    )  # fmt: skip
    def test_ways_to_write_a_line(self, line, port):
        assert load({}, line + "\n# comment\n\n").port == port

    def test_a_hash_inside_a_value_stays(self):
        key = "a#b" + KEY
        text = f"APP_ENV=production\nALLOWED_HOSTS=x\nADMIN_KEY={key}\n"
        assert load({}, text).admin_key == key

    def test_a_misspelled_name_is_told_with_the_nearest(self):
        assert problems(text="\n\nMAX_CONCURENT_SESSIONS=5") == [
            ".env line 3: there is no setting MAX_CONCURENT_SESSIONS; did you mean MAX_CONCURRENT_SESSIONS?"
        ]
        assert problems(text="port=5") == [".env line 1: there is no setting port; did you mean PORT?"]
        assert problems(text="QWERTZ=5") == [".env line 1: there is no setting QWERTZ; remove the line"]

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("APP_EVN", "APP_ENV"), ("app_env", "APP_ENV"), ("APP_ENVIRONMENT", None),
            ("ADMINKEY", "ADMIN_KEY"), ("CANNARY", "CANARY"), ("DOCKER_RUN_TIME", "DOCKER_RUNTIME"),
            ("SESSION_PER_ADDRESS", "SESSIONS_PER_ADDRESS"), ("ALLOWED_HOST", "ALLOWED_HOSTS"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ],
    )  # fmt: skip
    def test_a_name_in_the_environment_that_is_nearly_a_setting(self, name, near):
        if near is None:
            assert load({name: "x"}) == load({})
        else:
            [problem] = problems({name: "x"})
            assert problem == (
                f"environment: there is no setting {name}; did you mean {near}? Otherwise unset it"
            )

    @pytest.mark.parametrize(
        "value", ['"3000', "'3000", "\"3000'", '"3000" 1', "'3000'x", '"3000"#5', '"', '"3000""', "\"30'00"]
    )
    def test_a_stray_quote(self, value):
        [problem] = problems(text=f"HOST=localhost\nPORT={value}\n")
        assert problem.startswith(".env line 2: PORT has an unclosed quote, or text after the closing one; ")

    @pytest.mark.parametrize("character", "\0\x01\x0b\x0c\x1b\x85\u200b\u2028\xad\ufeff")
    def test_a_character_that_nobody_sees(self, character):
        [problem] = problems(text=f"HOST=localhost\nADMIN_KEY={KEY[:9]}{character}{KEY[9:]}\nPORT=1\n")
        assert problem == (
            f".env line 2: has an invisible character (U+{ord(character):04X}); retype the line"
        )

    def test_lines_are_counted_as_an_editor_does(self):
        text = "# one\r\n# two \x0c \u2028 still two\r\nPORT=many\r\n"
        [problem] = problems(text=text)
        assert problem.startswith(".env line 3: PORT cannot be 'many'")

    def test_another_file_is_named(self):
        with pytest.raises(ConfigError) as caught:
            load({}, "APP_ENV=production\nPORT=x\nPORT=y", file="/etc/x.env")
        assert [problem.split(": ")[0] for problem in caught.value.problems] == [
            "/etc/x.env line 3", "/etc/x.env line 2", "/etc/x.env", "/etc/x.env",
        ]  # fmt: skip

    def test_a_line_that_is_no_setting(self):
        assert problems(text="PORT 5") == [
            ".env line 1: this is not a setting; write NAME=value, or begin the line with #"
        ]

    def test_one_setting_twice(self):
        assert problems(text="PORT=1\nHOST=\nPORT=2") == [
            ".env line 3: PORT is already set on line 1; keep one of the two"
        ]


class TestProblems:
    def test_all_are_told_at_once_each_with_its_line(self):
        found = problems({"WORKER_THREADS": "0"}, "PORT=http\nHSOT=x\nDOCKER_MEMORY=4k\nLOG_LEVEL=loud\n")
        assert found == [
            ".env line 2: there is no setting HSOT; did you mean HOST?",
            ".env line 1: PORT cannot be 'http'; write a whole number from 0 to 65535",
            ".env line 4: LOG_LEVEL cannot be 'loud'; write one of: debug, info, warning, error",
            "environment: WORKER_THREADS cannot be '0'; write a whole number from 1 to 64",
            ".env line 3: DOCKER_MEMORY cannot be '4k'; write a size from 32m to 1024g, in bytes or with k, m"
            " or g",
        ]

    @pytest.mark.parametrize(("name", "value"), [(name, one) for name, ones in BAD.items() for one in ones])
    def test_bad_values(self, name, value):
        [problem] = problems({"APP_ENV": "development", name: value})
        assert problem.startswith(f"environment: {name} cannot be ")
        assert "; write " in problem

    @pytest.mark.parametrize(
        ("text", "ms"),
        [("4h", 14_400_000), ("90s", 90_000), ("15 min", 900_000), ("1.5h", 5_400_000), ("2500ms", 2500)],
    )
    def test_a_duration_with_a_unit_is_told_in_milliseconds(self, text, ms):
        [problem] = problems({"SESSION_TTL": text})
        assert "write milliseconds, a whole number from 10000 to " in problem
        assert problem.endswith(f"({text} is {ms})")

    def test_nothing_is_repeated_of_a_key_that_was_to_be_expanded(self):
        [problem] = problems(PRODUCTION | {"ADMIN_KEY": "$(cat /etc/secret/place)"})
        assert "/etc/secret/place" not in problem

    @pytest.mark.parametrize("given", [{"APP_ENV": ""}, {"APP_ENV": "  "}])
    def test_an_empty_mode_is_not_development(self, given):
        [problem] = problems(given, "ADMIN_KEY=\n")
        assert problem == "environment: APP_ENV is empty; write APP_ENV=production or APP_ENV=development"
        assert problems({}, "APP_ENV= # production\n")[0].startswith(".env line 1: APP_ENV is empty; ")

    def test_no_mode_where_production_is_meant(self):
        [problem] = problems(text=f"ADMIN_KEY={KEY}\nALLOWED_HOSTS=a.com\n")
        assert problem.startswith(".env: APP_ENV is not set, but ALLOWED_HOSTS and ADMIN_KEY; ")
        assert not load({"APP_ENV": "development"}, f"ADMIN_KEY={KEY}\n").production

    def test_languages_that_there_are(self):
        have = ["bash", "python", "science"]
        assert load({"LANGUAGES": "python,bash,python"}, languages=have).languages == ("python", "bash")
        with pytest.raises(ConfigError) as caught:
            load({}, "LANGUAGES=bash,pyton,cobol", languages=have)
        assert caught.value.problems == [
            ".env line 1: LANGUAGES names pyton, which is not a language; did you mean python?",
            ".env line 1: LANGUAGES names cobol, which is not a language; the languages are bash, python,"
            " science",
        ]

    @pytest.mark.parametrize("text", ["python bash", "python;bash", "c++", "*"])
    def test_languages_that_are_no_list_of_names(self, text):
        [problem] = problems({"LANGUAGES": text})
        assert "; write names separated by commas, for example python,cpp" in problem

    def test_languages_as_people_write_them(self):
        have = ["bash", "haskell", "python"]
        assert load({"LANGUAGES": "Python, BASH"}, languages=have).languages == ("python", "bash")
        with pytest.raises(ConfigError, match="write nothing for all"):
            load({"LANGUAGES": "all"}, languages=have)

    @pytest.mark.parametrize("origin", ["https://[::1", "https://*.example.com", "*", "https://u:p@a.com"])
    def test_origins_that_are_none(self, origin):
        [problem] = problems({"ALLOWED_ORIGINS": origin})
        assert "; write whole origins like https://example.com" in problem

    def test_a_socket_of_a_path_that_the_kernel_does_not_take(self):
        [problem] = problems({"HOST": f"unix:/run/{'a' * 90}"})
        assert "write the socket's absolute path of at most 90 bytes" in problem

    @pytest.mark.parametrize(
        "proxies", ["10.0.0.0/8", "127.0.0.1,::1", "fc00::/7", "2001:db8::/32", "104.16.0.0/13"]
    )
    def test_proxies(self, proxies):
        assert len(load(PRODUCTION | {"TRUSTED_PROXIES": proxies}).trusted_proxies) == 1 + proxies.count(",")

    @pytest.mark.parametrize(
        "engine",
        [
            "unix:///run/docker.sock", "tcp://127.0.0.1:2375", "https://engine.example.com:2376",
            "tcp://[::1]:2375",
        ],
    )  # fmt: skip
    def test_engines(self, engine):
        assert load({"DOCKER_HOST": engine}).docker_host == engine

    def test_no_reload_in_production(self):
        found = problems({"APP_ENV": "production", "RELOAD": "on"})
        assert any(one.startswith("environment: RELOAD is on, but APP_ENV is production") for one in found)
        assert load({"RELOAD": "on"}).reload == "on"

    def test_a_ceiling_below_the_usual_floor_lowers_it(self):
        assert load({"WARM_MAX": "0"}).warm_floor == 0
        [problem] = problems({"WARM_FLOOR": "3", "WARM_MAX": "2"})
        assert problem.startswith("environment: WARM_FLOOR is 3, above WARM_MAX, which is 2")
        [problem] = problems(text="WARM_FLOOR=13")
        assert problem.startswith(".env line 1: WARM_FLOOR is 13, above WARM_MAX, which is 12")

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.com", "::", "127.example.com"])
    def test_development_is_for_the_own_machine(self, host):
        [problem] = problems({"HOST": host})
        assert "write HOST=127.0.0.1, or set APP_ENV=production" in problem
        assert load(PRODUCTION | {"HOST": host}).host == host

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
    def test_loopback_names(self, host):
        assert load({"HOST": host}).host == host

    @pytest.mark.parametrize(
        "pool",
        ["10.0.0.0", "10.0.0.0/29", "10.0.0.1/16", "8.8.0.0/16", "0.0.0.0/0", "fd00::/64", "10.0.0.0/7", "x"],
    )
    def test_addresses_that_no_group_can_have(self, pool):
        [problem] = problems({"GROUP_ADDRESS_POOL": pool})
        assert "private IPv4 network" in problem

    def test_addresses_for_groups(self):
        assert load({"GROUP_ADDRESS_POOL": "192.168.4.0/22"}).group_address_pool == "192.168.4.0/22"
        assert load({"GROUP_ADDRESS_POOL": "10.0.0.0/28", "MAX_GROUPS": "1"}).max_groups == 1

    def test_what_production_requires(self):
        found = problems({"APP_ENV": "production"})
        assert [p.split(" is ")[0] for p in found] == [".env: ALLOWED_HOSTS", ".env: ADMIN_KEY"]
        assert "openssl rand -hex 32" in found[1]

    @pytest.mark.parametrize("key", ["short", KEY[:31], "a" * 40, "abababababababababababababababababab"])
    def test_a_weak_key_is_refused_and_not_repeated(self, key):
        [problem] = problems(PRODUCTION | {"ADMIN_KEY": key})
        assert "ADMIN_KEY is too easy to guess" in problem
        assert key not in problem

    def test_a_malformed_key_is_not_repeated(self):
        [problem] = problems(PRODUCTION | {"ADMIN_KEY": KEY + "\x07"})
        assert KEY not in problem

    def test_the_examples_key_is_refused(self):
        [problem] = problems(PRODUCTION | {"ADMIN_KEY": EXAMPLE_ADMIN_KEY})
        assert "the example value, which is public" in problem

    @pytest.mark.parametrize(
        ("given", "begin"),
        [
            ({"DOCKER_CMD_TIMEOUT": "40000"}, "environment: DOCKER_CMD_TIMEOUT is 40000, above DOCKER_"),
            ({"SESSION_TTL": "60000"}, "environment: SESSION_TTL is 60000, below SESSION_IDLE_TIMEOUT"),
            ({"SESSION_RESUME_MIN": "1000000"}, "environment: SESSION_RESUME_MIN is 1000000, above"),
            ({"SESSION_MEMORY": "255m"}, "environment: SESSION_MEMORY is 267386880, below DOCKER_MEMORY"),
            ({"SESSION_MEMORY": "1g", "DOCKER_MEMORY": "2g"}, "environment: DOCKER_MEMORY is 2147483648"),
            ({"MAX_ARCHIVE_SIZE": "64k"}, "environment: MAX_ARCHIVE_SIZE is 65536, below MAX_FILE_SIZE"),
            ({"WATCHDOG_INTERVAL": "1"}, "environment: WATCHDOG_INTERVAL is 1 ms, which would keep the"),
            ({"MAX_CONCURRENT_SESSIONS": "2000"}, ".env: SESSION_UID_COUNT is 1024"),
            ({"GROUP_ADDRESS_POOL": "10.1.0.0/25"}, "environment: GROUP_ADDRESS_POOL is 10.1.0.0/25, which"),
            ({"MAX_GROUPS": "4096", "GROUP_ADDRESS_POOL": "10.1.0.0/17"}, "environment: GROUP_ADDRESS_"),
        ],
    )
    def test_settings_that_do_not_fit_together(self, given, begin):
        [problem] = problems(given)
        assert problem.startswith(begin)

    @given(st.dictionaries(st.sampled_from([s.name for s in SETTINGS]), st.text(max_size=12)), st.text())
    def test_nothing_but_a_list_of_problems(self, environ, text):
        try:
            settings = load(environ, text)
        except ConfigError:
            return
        assert isinstance(settings, Settings)


class TestDocuments:
    def test_the_example_in_the_repository_is_the_declarations(self):
        path = ROOT / ".env.production.example"
        assert path.read_text(encoding="utf-8") == example_text(), "make it anew: settings --example"

    def test_the_example_names_every_setting_once(self):
        lines = [line.partition("=")[0] for line in example_text().splitlines() if not line.startswith("#")]
        assert [line for line in lines if line] == [s.name for s in SETTINGS]

    def test_the_example_is_refused_only_for_what_it_says_to_change(self):
        host, key = problems(text=example_text())
        assert "ALLOWED_HOSTS is still the example's" in host
        assert "ADMIN_KEY is the example value, which is public" in key

    def test_the_example_with_a_key_is_good(self):
        text = example_text().replace(EXAMPLE_ADMIN_KEY, KEY).replace("coderunner.example.com", "run.me")
        assert load({}, text) == load(PRODUCTION | {"ALLOWED_HOSTS": "run.me"})

    def test_the_page_has_the_table_of_the_declarations(self):
        assert settings_table() in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"), (
            "make it anew: settings --table"
        )


@given(st.integers(1, 2**40))
def test_sizes_are_shown_as_they_are_read(value):
    assert size(show_size(value)) == value


@pytest.mark.parametrize("text", ["256m", "256M", "256MB", "256mib", "268435456", "262144k"])
def test_ways_to_write_a_size(text):
    assert size(text) == 256 * 1024**2


FREE = {"QUOTAS_FILE", "STATE_DIR"}  # paths, which are looked at where they are used


@pytest.mark.parametrize("name", [one.name for one in SETTINGS])
def test_no_setting_takes_nonsense_or_a_name_that_is_nearly_its_own(name):
    if name not in FREE:
        with pytest.raises(ConfigError, match=name):
            load({name: "%% nonsense ::"})
    if len(name) > 4:  # shorter ones are like too many others
        with pytest.raises(ConfigError, match=name):
            load({name[:-2] + name[-1]: "1"})

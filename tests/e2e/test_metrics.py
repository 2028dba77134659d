"""`/metrics`: what Prometheus reads, what Grafana and the alerts make of it, and who may."""
import json
import os
import re
import signal
import subprocess

import yaml

from stack import REPOSITORY, eventually

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
# What PromQL has of its own.
WORDS = {"sum", "by", "rate", "or", "vector", "histogram_quantile", "min_over_time", "up"}


def scrape(stack, **rest):
    answer = stack.request(None, "GET", "/metrics", **rest).expect(200)
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def samples(text):
    """{(name, sorted labels): value}"""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = SAMPLE.match(line).groups()
            key = name, tuple(sorted(LABEL.findall(labels or "")))
            assert key not in found, f"twice: {line}"
            found[key] = float(value)
    return found


def value(found, name, **labels):
    return found.get((name, tuple(sorted(labels.items()))), 0)


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.returncode, done.stdout


def test_prometheus_likes_what_we_say(stack, user):
    stack.run(user, "true")
    text = scrape(stack)
    ours = "".join(line + "\n" for line in text.splitlines() if re.match(r"(# (HELP|TYPE) )?terminals_", line))
    status, said = promtool("check", "metrics", text=ours)
    assert (status, said) == (0, "")
    # HAProxy names some of its own otherwise than Prometheus would; that is said, and no error.
    status, said = promtool("check", "metrics", text=text)
    assert "error while linting" not in said and all(line.startswith("haproxy_") for line in said.splitlines()), said


def test_one_scrape_has_haproxys_metrics_and_ours(stack, user):
    before = samples(scrape(stack))
    stack.run(user, "true")
    after = samples(scrape(stack))

    def grew(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    assert value(after, "terminals_haproxy_exporter_up") == 1
    assert grew("haproxy_frontend_http_requests_total", proxy="public") >= 1
    assert grew("terminals_starts_total", kind="cold") == 1
    assert grew("terminals_start_duration_seconds_count", backend="local", kind="cold") == 1
    assert grew("terminals_start_duration_seconds_bucket", backend="local", kind="cold", le="+Inf") == 1
    assert grew("terminals_database_duration_seconds_count", operation="commit") >= 1
    assert value(after, "terminals_instances", status="running", policy="default") >= 1
    assert value(after, "terminals_resident_memory_bytes") > 5_000_000
    assert value(after, "terminals_problem", what="gate", severity="error") == 0
    assert any(name == "terminals_build_info" and ("backend", "local") in labels for name, labels in after)
    eventually(lambda: value(samples(scrape(stack)), "terminals_map_push_duration_seconds_count", map="routes") >= 1,
               what="a push of the routes")
    shell = stack.shell(user)
    eventually(lambda: value(samples(scrape(stack)), "terminals_websockets") >= 1, what="the open shell")
    shell.close()


def test_a_gate_that_nobody_has_used_yet_is_no_problem(fresh):
    stack = fresh()

    def nothing_is_wrong():
        assert value(samples(scrape(stack)), "terminals_problem", what="gate", severity="error") == 0
        return True

    eventually(nothing_is_wrong, what="a gate that has said who it is")
    os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
    eventually(nothing_is_wrong, what="one that has said so to the next provisioner")


def test_a_failed_start_is_counted_by_its_cause(fresh):
    stack = fresh(local_binary="/bin/false", start_timeout_seconds=20)
    stack.request("ann", "GET", "/x").expect((502, 504))
    found = samples(scrape(stack))
    assert sum(count for (name, _), count in found.items() if name == "terminals_start_failures_total") == 1
    assert value(found, "terminals_problem", what="tenants_in_error", severity="warning") == 1
    assert value(found, "terminals_instances", status="error", policy="default") == 1


def test_buckets_of_a_histogram_add_up(stack, user):
    stack.run(user, "true")
    series = {}
    for (name, labels), count in samples(scrape(stack)).items():
        if name.startswith("terminals_") and name.endswith("_bucket"):
            rest = tuple(label for label in labels if label[0] != "le")
            series.setdefault((name, rest), []).append((float(dict(labels)["le"]), count))
    assert series
    everything = samples(scrape(stack))
    for (name, rest), buckets in series.items():
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), name
        counts = [count for _, count in buckets]
        assert counts == sorted(counts), name
        assert (name.removesuffix("_bucket") + "_count", rest) in everything


def test_no_label_names_a_user_and_policies_are_bounded(stack):
    users = [f"metrics-secret-{number}" for number in range(3)]
    for number in range(25):
        stack.admin("POST", "/policies", json_body={"id": f"metrics-{number}", "data": {}}).expect((201, 409))
    for number in range(25):
        stack.admin("POST", f"/tenants/?policy_id=metrics-{number}", headers=[("X-User-Id", users[number % 3])]).expect(200)
        stack.admin("POST", f"/tenants/{users[number % 3]}/stop?policy_id=metrics-{number}").expect(200)
    text = scrape(stack)
    assert "metrics-secret" not in text
    policies = {dict(labels)["policy"] for name, labels in samples(text) if name == "terminals_instances"}
    assert len(policies) <= 21 and "other" in policies
    total = sum(count for (name, _), count in samples(text).items() if name == "terminals_instances")
    assert total == len(stack.tenants("?limit=1000"))
    for number in range(25):
        stack.admin("DELETE", f"/tenants/{users[number % 3]}?policy_id=metrics-{number}").expect(200)
        stack.admin("DELETE", f"/policies/metrics-{number}").expect(200)


# --- who may

def test_without_a_key_there_are_no_metrics(stack):
    stack.request(None, "GET", "/metrics", key=None).expect_error(401)
    stack.request(None, "GET", "/metrics", key="wrong").expect_error(401)
    stack.request(None, "POST", "/metrics", body=b"").expect_error(405)
    # Elsewhere it is an instance's path.
    stack.request(None, "GET", "/terminals/metrics").expect_error(422)


def test_the_metrics_token_is_good_for_metrics_alone(fresh):
    stack = fresh(metrics_token="for-prometheus")
    assert "terminals_build_info" in scrape(stack, key="for-prometheus")
    assert "terminals_build_info" in scrape(stack)
    for path in ("/api/v1/stats", "/api/v1/tenants", "/openapi.json", "/metricsx", "/metrics/x", "//metrics"):
        stack.request("ann", "GET", path, key="for-prometheus").expect_error((400, 401))
    stack.request("ann", "POST", "/execute", {"command": "id"}, key="for-prometheus").expect_error(401)
    stack.request(None, "GET", "/metrics", key="for-prometheu").expect_error(401)
    assert "for-prometheus" not in stack.log() + stack.admin("GET", "/config").text
    assert stack.admin("GET", "/config").json()["has_metrics_token"] is True


# --- what is shipped

def metric_names(expression):
    """The names of metrics in a PromQL expression."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)', " ", expression)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - WORDS


def test_dashboard_and_alerts_name_metrics_that_exist(stack, user):
    stack.run(user, "true")
    there = {name for name, _ in samples(scrape(stack))}
    dashboard = json.loads((REPOSITORY / "deploy/grafana/terminals.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) > 30
    named = set().union(*map(metric_names, expressions))
    assert named and named <= there, named - there
    # And nothing that we say is forgotten there, but what only explains.
    documented = (REPOSITORY / "docs/metrics.md").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in there if name.startswith("terminals_")}
    assert {name for name in families if f"`{name}`" not in documented} == set()


def test_prometheus_takes_the_alert_rules():
    status, said = promtool("check", "rules", REPOSITORY / "deploy/prometheus/alerts.yml")
    assert status == 0, said

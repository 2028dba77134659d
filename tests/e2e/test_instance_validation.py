"""What the native instance says to requests that are no good: as FastAPI with pydantic 2 does, word for word.

The table was made by asking pydantic 2.13 (and Python 3.13's json) with models made after reference/open-terminal-openapi.json: the types
and sentences, what is told as the input, and the order, in which the query comes before the body and each problem is told.
"""
import pytest
from instance_process import InstanceProcess

SENTENCES = {
    'missing': 'Field required',
    'int_parsing': 'Input should be a valid integer, unable to parse string as an integer',
    'bool_parsing': 'Input should be a valid boolean, unable to interpret input',
    'float_parsing': 'Input should be a valid number, unable to parse string as a number',
    'model_attributes_type': 'Input should be a valid dictionary or object to extract fields from',
    'json_invalid': 'JSON decode error',
    'string_type': 'Input should be a valid string',
    'dict_type': 'Input should be a valid dictionary',
    'list_type': 'Input should be a valid list',
    'int_from_float': 'Input should be a valid integer, got a number with a fractional part',
    'int_type': 'Input should be a valid integer',
    'bool_type': 'Input should be a valid boolean',
}
BOUNDS = {"greater_than_equal": ("greater", "ge"), "less_than_equal": ("less", "le")}

# (method, target, body, [(type, where, input, context)])
REFUSED = [
    ("GET", "/files/read", None, [('missing', ['query', 'path'], None)]),
    ("GET", "/files/read?path=null", None, [('missing', ['query', 'path'], None)]),
    ("GET", "/files/read?start_line=0&end_line=-1", None, [
        ('missing', ['query', 'path'], None),
        ('greater_than_equal', ['query', 'start_line'], '0', {'ge': 1}),
        ('greater_than_equal', ['query', 'end_line'], '-1', {'ge': 1})]),
    ("GET", "/files/read?path=f&start_line=1.5", None, [('int_parsing', ['query', 'start_line'], '1.5')]),
    ("GET", "/files/read?path=f&start_line=", None, [('int_parsing', ['query', 'start_line'], '')]),
    ("GET", "/files/read?path=f&start_line=%20x%FF", None, [('int_parsing', ['query', 'start_line'], ' x�')]),
    ("GET", "/files/read?path=f&end_line=1e2", None, [('int_parsing', ['query', 'end_line'], '1e2')]),
    ("GET", "/files/read?path=f&start_line=1__0", None, [('int_parsing', ['query', 'start_line'], '1__0')]),
    ("GET", "/files/read?path=f&start_line=1%00", None, [('int_parsing', ['query', 'start_line'], '1\x00')]),
    ("GET", "/files/display?foo=1", None, [('missing', ['query', 'path'], None)]),
    ("GET", "/files/view", None, [('missing', ['query', 'path'], None)]),
    ("DELETE", "/files/delete?path=null", None, [('missing', ['query', 'path'], None)]),
    ("GET", "/files/grep?regex=&case_insensitive=2&match_per_line=maybe&max_results=x", None, [
        ('missing', ['query', 'query'], None),
        ('bool_parsing', ['query', 'regex'], ''),
        ('bool_parsing', ['query', 'case_insensitive'], '2'),
        ('bool_parsing', ['query', 'match_per_line'], 'maybe'),
        ('int_parsing', ['query', 'max_results'], 'x')]),
    ("GET", "/files/grep?query=x&max_results=0", None, [('greater_than_equal', ['query', 'max_results'], '0', {'ge': 1})]),
    ("GET", "/files/grep?query=x&max_results=501", None, [('less_than_equal', ['query', 'max_results'], '501', {'le': 500})]),
    ("GET", "/files/grep?query=x&max_results=1_000", None, [('less_than_equal', ['query', 'max_results'], '1_000', {'le': 500})]),
    ("GET", "/files/grep?query=NULL&include=a", None, [('missing', ['query', 'query'], None)]),
    ("GET", "/files/grep?query=x&regex=%20true", None, [('bool_parsing', ['query', 'regex'], ' true')]),
    ("GET", "/files/glob", None, [('missing', ['query', 'pattern'], None)]),
    ("GET", "/files/glob?pattern=x&type=", None, [('string_pattern_mismatch', ['query', 'type'], '', {'pattern': '^(file|directory|any)$'})]),
    ("GET", "/files/glob?pattern=x&type=File&max_results=-1", None, [
        ('string_pattern_mismatch', ['query', 'type'], 'File', {'pattern': '^(file|directory|any)$'}),
        ('greater_than_equal', ['query', 'max_results'], '-1', {'ge': 1})]),
    ("GET", "/files/glob?pattern=x&type=file%0A", None, [('string_pattern_mismatch', ['query', 'type'], 'file\n', {'pattern': '^(file|directory|any)$'})]),
    ("POST", "/execute?wait=-1", '{"command":"true"}', [('greater_than_equal', ['query', 'wait'], '-1', {'ge': 0.0})]),
    ("POST", "/execute?wait=301", '{"command":"true"}', [('less_than_equal', ['query', 'wait'], '301', {'le': 300.0})]),
    ("POST", "/execute?wait=x&tail=0", '{"command":"true"}', [
        ('float_parsing', ['query', 'wait'], 'x'),
        ('greater_than_equal', ['query', 'tail'], '0', {'ge': 1})]),
    ("POST", "/execute?wait=&tail=", '{"command":"true"}', [
        ('float_parsing', ['query', 'wait'], ''),
        ('int_parsing', ['query', 'tail'], '')]),
    ("POST", "/execute?wait=nan", '{"command":"true"}', [('less_than_equal', ['query', 'wait'], 'nan', {'le': 300.0})]),
    ("POST", "/execute?wait=inf", '{"command":"true"}', [('less_than_equal', ['query', 'wait'], 'inf', {'le': 300.0})]),
    ("POST", "/execute?wait=-1e-9", '{"command":"true"}', [('greater_than_equal', ['query', 'wait'], '-1e-9', {'ge': 0.0})]),
    ("POST", "/execute?wait=0x10", '{"command":"true"}', [('float_parsing', ['query', 'wait'], '0x10')]),
    ("POST", "/execute?tail=1.5", '{"command":"true"}', [('int_parsing', ['query', 'tail'], '1.5')]),
    ("POST", "/execute?wait=x&tail=0", None, [
        ('float_parsing', ['query', 'wait'], 'x'),
        ('greater_than_equal', ['query', 'tail'], '0', {'ge': 1}),
        ('missing', ['body'], None)]),
    ("POST", "/execute?wait=-1&tail=x", '[]', [
        ('greater_than_equal', ['query', 'wait'], '-1', {'ge': 0.0}),
        ('int_parsing', ['query', 'tail'], 'x'),
        ('model_attributes_type', ['body'], [])]),
    ("POST", "/execute?wait=-1", '{}', [
        ('greater_than_equal', ['query', 'wait'], '-1', {'ge': 0.0}),
        ('missing', ['body', 'command'], {})]),
    ("POST", "/execute?wait=-1", '{bad', [('json_invalid', ['body', 1], {}, {'error': 'Expecting property name enclosed in double quotes'})]),
    ("GET", "/execute/nope/status?wait=x&offset=-1&tail=0", None, [
        ('float_parsing', ['query', 'wait'], 'x'),
        ('greater_than_equal', ['query', 'offset'], '-1', {'ge': 0}),
        ('greater_than_equal', ['query', 'tail'], '0', {'ge': 1})]),
    ("GET", "/execute/nope/status?offset=", None, [('int_parsing', ['query', 'offset'], '')]),
    ("GET", "/execute/nope/status?offset=1.5", None, [('int_parsing', ['query', 'offset'], '1.5')]),
    ("DELETE", "/execute/nope?force=", None, [('bool_parsing', ['query', 'force'], '')]),
    ("DELETE", "/execute/nope?force=2", None, [('bool_parsing', ['query', 'force'], '2')]),
    ("DELETE", "/execute/nope?force=%FF", None, [('bool_parsing', ['query', 'force'], '�')]),
    ("POST", "/execute", '{}', [('missing', ['body', 'command'], {})]),
    ("POST", "/execute", '{"command":null,"cwd":5,"env":[]}', [
        ('string_type', ['body', 'command'], None),
        ('string_type', ['body', 'cwd'], 5),
        ('dict_type', ['body', 'env'], [])]),
    ("POST", "/execute", '{"command":["ls"],"env":{"A":1,"B":null,"C":"c"}}', [
        ('string_type', ['body', 'command'], ['ls']),
        ('string_type', ['body', 'env', 'A'], 1),
        ('string_type', ['body', 'env', 'B'], None)]),
    ("POST", "/execute", '{"command":1.5,"env":"A=1"}', [
        ('string_type', ['body', 'command'], 1.5),
        ('dict_type', ['body', 'env'], 'A=1')]),
    ("POST", "/execute", '{"command":true,"cwd":{}}', [
        ('string_type', ['body', 'command'], True),
        ('string_type', ['body', 'cwd'], {})]),
    ("POST", "/execute/nope/input", '{}', [('missing', ['body', 'input'], {})]),
    ("POST", "/execute/nope/input", '{"input":5}', [('string_type', ['body', 'input'], 5)]),
    ("POST", "/execute/nope/input", '{"input":null}', [('string_type', ['body', 'input'], None)]),
    ("POST", "/execute/nope/input", None, [('missing', ['body'], None)]),
    ("POST", "/files/write", None, [('missing', ['body'], None)]),
    ("POST", "/files/write", 'null', [('missing', ['body'], None)]),
    ("POST", "/files/write", '[]', [('model_attributes_type', ['body'], [])]),
    ("POST", "/files/write", '5', [('model_attributes_type', ['body'], 5)]),
    ("POST", "/files/write", '"x"', [('model_attributes_type', ['body'], 'x')]),
    ("POST", "/files/write", 'true', [('model_attributes_type', ['body'], True)]),
    ("POST", "/files/write", '1.5', [('model_attributes_type', ['body'], 1.5)]),
    ("POST", "/files/write", '[{"path":"a"}]', [('model_attributes_type', ['body'], [{'path': 'a'}])]),
    ("POST", "/files/write", '{"content":"x"}', [('missing', ['body', 'path'], {'content': 'x'})]),
    ("POST", "/files/write", '{"path":null,"content":{}}', [
        ('string_type', ['body', 'path'], None),
        ('string_type', ['body', 'content'], {})]),
    ("POST", "/files/write", '{"path":[],"content":false}', [
        ('string_type', ['body', 'path'], []),
        ('string_type', ['body', 'content'], False)]),
    ("POST", "/files/write", '{"path":"a",}', [('json_invalid', ['body', 11], {}, {'error': 'Illegal trailing comma before end of object'})]),
    ("POST", "/files/mkdir", '{"path":1}', [('string_type', ['body', 'path'], 1)]),
    ("POST", "/files/mkdir", '{"Path":"x"}', [('missing', ['body', 'path'], {'Path': 'x'})]),
    ("POST", "/files/cwd", '{"path":{}}', [('string_type', ['body', 'path'], {})]),
    ("POST", "/files/move", '{}', [
        ('missing', ['body', 'source'], {}),
        ('missing', ['body', 'destination'], {})]),
    ("POST", "/files/move", '{"source":1,"destination":null}', [
        ('string_type', ['body', 'source'], 1),
        ('string_type', ['body', 'destination'], None)]),
    ("POST", "/files/move", '{"destination":"x"}', [('missing', ['body', 'source'], {'destination': 'x'})]),
    ("POST", "/files/archive", '{"paths":"x"}', [('list_type', ['body', 'paths'], 'x')]),
    ("POST", "/files/archive", '{"paths":null}', [('list_type', ['body', 'paths'], None)]),
    ("POST", "/files/archive", '{"paths":{"a":1}}', [('list_type', ['body', 'paths'], {'a': 1})]),
    ("POST", "/files/archive", '{"paths":["x",5,null,["y"]]}', [
        ('string_type', ['body', 'paths', 1], 5),
        ('string_type', ['body', 'paths', 2], None),
        ('string_type', ['body', 'paths', 3], ['y'])]),
    ("POST", "/files/replace", '{"path":"f","replacements":{}}', [('list_type', ['body', 'replacements'], {})]),
    ("POST", "/files/replace", '{"path":5,"replacements":[5,null,"x",[],{}]}', [
        ('string_type', ['body', 'path'], 5),
        ('model_attributes_type', ['body', 'replacements', 0], 5),
        ('model_attributes_type', ['body', 'replacements', 1], None),
        ('model_attributes_type', ['body', 'replacements', 2], 'x'),
        ('model_attributes_type', ['body', 'replacements', 3], []),
        ('missing', ['body', 'replacements', 4, 'target'], {}),
        ('missing', ['body', 'replacements', 4, 'replacement'], {})]),
    ("POST", "/files/replace", '{"path":"f","replacements":[{"target":5,"replacement":null}]}', [
        ('string_type', ['body', 'replacements', 0, 'target'], 5),
        ('string_type', ['body', 'replacements', 0, 'replacement'], None)]),
    ("POST", "/files/replace", '{"path":"f","replacements":[{"target":"a","replacement":"b","start_line":0,"end_line":"x","allow_multiple":2}]}', [
        ('greater_than_equal', ['body', 'replacements', 0, 'start_line'], 0, {'ge': 1}),
        ('int_parsing', ['body', 'replacements', 0, 'end_line'], 'x'),
        ('bool_parsing', ['body', 'replacements', 0, 'allow_multiple'], 2)]),
    ("POST", "/files/replace", '{"path":"f","replacements":[{"target":"a","replacement":"b","start_line":1.5,"end_line":[],"allow_multiple":null}]}', [
        ('int_from_float', ['body', 'replacements', 0, 'start_line'], 1.5),
        ('int_type', ['body', 'replacements', 0, 'end_line'], []),
        ('bool_type', ['body', 'replacements', 0, 'allow_multiple'], None)]),
    ("POST", "/files/replace", '{"path":"f","replacements":[{"replacement":"b","start_line":"0","end_line":"-1","allow_multiple":"maybe"}]}', [
        ('missing', ['body', 'replacements', 0, 'target'], {'replacement': 'b', 'start_line': '0', 'end_line': '-1', 'allow_multiple': 'maybe'}),
        ('greater_than_equal', ['body', 'replacements', 0, 'start_line'], '0', {'ge': 1}),
        ('greater_than_equal', ['body', 'replacements', 0, 'end_line'], '-1', {'ge': 1}),
        ('bool_parsing', ['body', 'replacements', 0, 'allow_multiple'], 'maybe')]),
    ("POST", "/files/replace", '{"replacements":[{"target":"a"}]}', [
        ('missing', ['body', 'path'], {'replacements': [{'target': 'a'}]}),
        ('missing', ['body', 'replacements', 0, 'replacement'], {'target': 'a'})]),
]


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess() as running:
        yield running


def sentence(kind, context):
    if kind in BOUNDS:
        word, key = BOUNDS[kind]
        return f"Input should be {word} than or equal to {int(context[key])}"
    return f"String should match pattern '{context['pattern']}'" if kind == "string_pattern_mismatch" else SENTENCES[kind]


def detail(kind, where, given, context=None):
    problem = {"type": kind, "loc": where, "msg": sentence(kind, context), "input": given}
    return {**problem, "ctx": context} if context is not None else problem


@pytest.mark.parametrize("method, target, body, problems", REFUSED, ids=[f"{row[0]} {row[1]} {row[2] or ''}" for row in REFUSED])
def test_what_is_wrong_is_told_in_pydantics_words(instance, method, target, body, problems):
    answer = instance.call(method, target, body, {"Content-Type": "application/json"} if body is not None else {})
    assert (answer.status, answer.json()) == (422, {"detail": [detail(*problem) for problem in problems]})


@pytest.mark.parametrize("method, target, body", [
    ("GET", "/files/read?path=f&start_line=2.0&end_line=%2B2", None), ("GET", "/files/read?path=f&start_line=1_0", None),
    ("GET", "/files/read?path=f&start_line=%205%20", None), ("GET", "/files/read?path=f&start_line=99999999999999999999", None),
    ("GET", "/files/read?path=f&start_line=null&end_line=NULL", None), ("GET", "/files/grep?query=x&regex=NO&case_insensitive=on", None),
    ("GET", "/files/glob?pattern=x&type=null&unknown=1", None), ("POST", "/execute?wait=%20.5e-9%20&tail=1_0.0", '{"command":"true","x":[1]}'),
    ("POST", "/execute?wait=null&tail=null", '{"command":"true","cwd":null,"env":null}'),
    ("POST", "/files/write", '{"path":1,"path":"f","content":"x"}'), ("POST", "/files/write", '\ufeff{"path":"f","content":"x"}')])
def test_what_pydantic_takes_is_taken(instance, method, target, body):
    instance.call("POST", "/files/write", {"path": "f", "content": "x"})
    answer = instance.call(method, target, body.encode() if body else None, {"Content-Type": "application/json"} if body else {})
    assert answer.status == 200, answer


@pytest.mark.parametrize("kind, status", [
    ("application/json; charset=utf-8", 200), ("APPLICATION/JSON", 200), ("application/problem+json", 200), ("text/json", 422),
    ("application/x-json", 422), ("multipart/form-data; boundary=x", 422), (None, 200)])
def test_json_is_what_is_called_so(instance, kind, status):
    answer = instance.call("POST", "/files/mkdir", '{"path":"m"}', {"Content-Type": kind} if kind else {})
    assert answer.status == status, answer
    if status == 422:
        assert answer.json() == {"detail": [detail("model_attributes_type", ["body"], '{"path":"m"}')]}


# ---- what Starlette does around it ----

@pytest.mark.parametrize("method, path, status, location", [
    ("GET", "/files/list/", 307, "/files/list"), ("GET", "/files/list//?a=b", 307, "/files/list?a=b"), ("POST", "/files/list/", 307, "/files/list"),
    ("HEAD", "/health/", 307, "/health"), ("GET", "/execute/x/status/", 307, "/execute/x/status"), ("GET", "/files/serve", 307, "/files/serve/"),
    ("GET", "/proxy/abc", 307, "/proxy/abc/"), ("GET", "//", 404, None), ("GET", "/nope/", 404, None), ("GET", "/files//list", 404, None),
    ("HEAD", "/docs", 200, None), ("HEAD", "/openapi.json", 200, None), ("HEAD", "/health", 405, None)])
def test_slashes_and_head(instance, method, path, status, location):
    answer = instance.call(method, path, key=None)
    there = f"http://127.0.0.1:{instance.port}{location}" if location else None
    assert (answer.status, answer.headers.get("location")) == (status, there)


ORIGIN = {"Origin": "https://x.example"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "DELETE"}


def cors(answer):
    return {name.removeprefix("access-control-"): value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_a_browser_may_ask_before_it_calls(instance):
    answer = instance.call("OPTIONS", "/files/delete", headers={**PREFLIGHT, "Access-Control-Request-Headers": "authorization, x-a"}, key=None)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"OK", "text/plain; charset=utf-8")
    assert cors(answer) == {"allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT", "max-age": "600", "allow-headers": "authorization, x-a",
                            "allow-origin": "https://x.example", "allow-credentials": "true"}
    answer = instance.call("OPTIONS", "/files/delete", headers={**PREFLIGHT, "Access-Control-Request-Method": "delete"}, key=None)
    assert (answer.status, answer.body) == (400, b"Disallowed CORS method")
    answer = instance.call("OPTIONS", "/files/delete", headers=ORIGIN, key=None)  # no preflight
    assert (answer.status, cors(answer)) == (405, {"allow-origin": "*", "allow-credentials": "true"})


def test_only_the_origins_that_are_allowed_get_leave():
    with InstanceProcess(env={"OPEN_TERMINAL_CORS_ALLOWED_ORIGINS": "https://a.example,https://b.example"}) as instance:
        assert cors(instance.call("GET", "/health", headers={"Origin": "https://b.example"})) == {
            "allow-origin": "https://b.example", "allow-credentials": "true"}
        assert cors(instance.call("GET", "/health", headers=ORIGIN)) == {"allow-credentials": "true"}
        answer = instance.call("OPTIONS", "/health", headers=PREFLIGHT, key=None)
        assert (answer.status, answer.body) == (400, b"Disallowed CORS origin") and "allow-origin" not in cors(answer)
        answer = instance.call("OPTIONS", "/health", headers={**PREFLIGHT, "Access-Control-Request-Method": "BREW"}, key=None)
        assert (answer.status, answer.body) == (400, b"Disallowed CORS origin, method")

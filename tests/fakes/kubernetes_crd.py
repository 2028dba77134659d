"""Custom resources in the fake API server, by the rules of apiextensions-apiserver: a CustomResourceDefinition has a structural
schema; values are defaulted, pruned and validated by it.
"""
import datetime
import re

FORBIDDEN = {"$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties", "readOnly", "writeOnly",
             "xml"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
KNOWN = {"type", "properties", "additionalProperties", "items", "required", "description", "enum", "pattern", "format", "default",
         "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties", "nullable", "title", "example",
         "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-list-type",
         "x-kubernetes-list-map-keys", "x-kubernetes-validations", "x-kubernetes-embedded-resource", "anyOf", "allOf", "oneOf", "not"}


# --- the definition ---

def structural_problems(schema, path):
    """k8s.io/apiextensions-apiserver/pkg/apiserver/schema: NewStructural and ValidateStructural."""
    for word in sorted(FORBIDDEN & set(schema)):
        yield f"{path}.{word}", "Forbidden: is not supported"
    for word in sorted(set(schema) - FORBIDDEN - KNOWN):
        yield f"{path}.{word}", "unknown field"
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    either = schema.get("x-kubernetes-int-or-string")
    if "type" not in schema and not free and not either:
        yield f"{path}.type", "Required value: must not be empty for specified object fields"
    if "type" in schema and schema["type"] not in TYPES:
        yield f"{path}.type", f"Unsupported value: {schema['type']!r}"
    if free is False:
        yield f"{path}.x-kubernetes-preserve-unknown-fields", "Invalid value: must be true or undefined"
    if schema.get("uniqueItems"):
        yield f"{path}.uniqueItems", "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}.additionalProperties", "Forbidden: additionalProperties and properties are mutual exclusive"
    if schema.get("additionalProperties") is False:
        yield f"{path}.additionalProperties", "Forbidden: additionalProperties cannot be set to false"
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{path}.items", "Required value: must be specified"
    if schema.get("x-kubernetes-list-type") == "map":
        keys = schema.get("x-kubernetes-list-map-keys") or []
        item = schema.get("items") or {}
        for key in keys:
            if key not in (item.get("properties") or {}) or not (
                    key in (item.get("required") or []) or "default" in item["properties"][key]):
                yield f"{path}.items.properties[{key}]", "Required value: this property is in x-kubernetes-list-map-keys"
        if not keys:
            yield f"{path}.x-kubernetes-list-map-keys", "Required value: must not be empty if x-kubernetes-list-type is map"
    if "default" in schema:
        for field, message in value_problems(schema["default"], schema, f"{path}.default"):
            yield field, message
    for junctor in ("anyOf", "allOf", "oneOf"):
        for branch in schema.get(junctor) or []:
            if not either and {"type", "default", "additionalProperties", "nullable", "description"} & set(branch):
                yield f"{path}.{junctor}", "Forbidden: must be empty to be structural"
    for name, sub in (schema.get("properties") or {}).items():
        yield from structural_problems(sub, f"{path}.properties[{name}]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from structural_problems(schema["additionalProperties"], f"{path}.additionalProperties")
    if "items" in schema:
        yield from structural_problems(schema["items"], f"{path}.items")


def definition_problems(value):
    """ValidateCustomResourceDefinition, as far as it concerns anybody here."""
    spec, names = value["spec"], value["spec"].get("names") or {}
    if value["metadata"].get("name") != f"{names.get('plural')}.{spec.get('group')}":
        yield "metadata.name", f"Invalid value: must be spec.names.plural+\".\"+spec.group"
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield "spec.scope", "Unsupported value"
    for field in ("plural", "kind"):
        if not names.get(field):
            yield f"spec.names.{field}", "Required value"
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield "spec.versions", "Invalid value: must have exactly one version marked as storage version"
    for n, version in enumerate(versions):
        path = f"spec.versions[{n}].schema.openAPIV3Schema"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not re.fullmatch(r"v[a-z0-9-]+", version.get("name", "")):
            yield f"spec.versions[{n}].name", "Invalid value"
        if not schema:
            yield path, "Required value: schemas are required"
            continue
        if schema.get("type") != "object":
            yield f"{path}.type", "Invalid value: must be object at the root"
        yield from structural_problems(schema, path)
        for column in version.get("additionalPrinterColumns") or []:
            if not column.get("jsonPath", "").startswith(".") or column.get("type") not in ("string", "integer", "number", "boolean", "date"):
                yield f"spec.versions[{n}].additionalPrinterColumns", f"Invalid value: {column}"


# --- values ---

def with_defaults(value, schema):
    if isinstance(value, dict):
        for name, sub in (schema.get("properties") or {}).items():
            if name not in value and "default" in sub:
                value[name] = sub["default"]
            if name in value:
                with_defaults(value[name], sub)
        if isinstance(schema.get("additionalProperties"), dict):
            for item in value.values():
                with_defaults(item, schema["additionalProperties"])
    elif isinstance(value, list):
        for item in value:
            with_defaults(item, schema.get("items") or {})


def prune(value, schema, path=""):
    """Drops what the schema does not know, and yields the paths of that."""
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        for name in list(value):
            if name in known:
                yield from prune(value[name], known[name], f"{path}.{name}")
            elif isinstance(more, dict):
                yield from prune(value[name], more, f"{path}.{name}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                del value[name]
                yield f"{path}.{name}".lstrip(".")
    elif isinstance(value, list) and "items" in schema:
        for n, item in enumerate(value):
            yield from prune(item, schema["items"], f"{path}[{n}]")


def is_type(value, name):
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def value_problems(value, schema, path):
    if value is None and not schema.get("nullable"):
        yield path, "Invalid value: null"
        return
    if schema.get("x-kubernetes-int-or-string") and not (is_type(value, "integer") or isinstance(value, str)):
        yield path, f"Invalid value: {value!r}: must be integer or string"
    if "type" in schema and not is_type(value, schema["type"]):
        yield path, f"Invalid value: {type(value).__name__!r}: must be of type {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"Unsupported value: {value!r}: supported values: {', '.join(map(repr, schema['enum']))}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield path, f"Invalid value: {value!r}: bad length"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield path, f"Invalid value: {value!r}: should match '{schema['pattern']}'"
        if schema.get("format") == "date-time":
            try:
                datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", value).replace("Z", "+00:00"))
            except ValueError:
                yield path, f"Invalid value: {value!r}: must be of type date-time"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield path, f"Invalid value: {value}: out of range"
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield path, f"Too many: {len(value)}"
        keys = schema.get("x-kubernetes-list-map-keys") or []
        seen = [tuple(item.get(key) for key in keys) for item in value] if keys else []
        if len(seen) != len(set(seen)):
            yield path, "Duplicate value"
        for n, item in enumerate(value):
            yield from value_problems(item, schema.get("items") or {}, f"{path}[{n}]")
    elif isinstance(value, dict):
        if len(value) > schema.get("maxProperties", len(value)):
            yield path, f"Too many: {len(value)}"
        for name in schema.get("required") or []:
            if name not in value:
                yield f"{path}.{name}".lstrip("."), "Required value"
        for name, sub in (schema.get("properties") or {}).items():
            if name in value:
                yield from value_problems(value[name], sub, f"{path}.{name}".lstrip("."))
        if isinstance(schema.get("additionalProperties"), dict):
            for name, item in value.items():
                yield from value_problems(item, schema["additionalProperties"], f"{path}.{name}")


class Resource:
    """A registered custom resource, of one version."""

    def __init__(self, definition, version):
        spec = definition["spec"]
        self.kind = spec["names"]["kind"]
        self.schema = version["schema"]["openAPIV3Schema"]
        self.has_status = "status" in (version.get("subresources") or {})

    def decode(self, value):
        """Defaults and prunes in place; the fields that were pruned."""
        rest = {name: item for name, item in value.items() if name not in ("apiVersion", "kind", "metadata")}
        schema = {**self.schema, "properties": {name: sub for name, sub in (self.schema.get("properties") or {}).items()
                                                if name not in ("apiVersion", "kind", "metadata")}}
        with_defaults(rest, schema)
        pruned = list(prune(rest, schema))
        for name in [name for name in value if name not in ("apiVersion", "kind", "metadata")]:
            del value[name]
        value.update(rest)
        return pruned

    def problems(self, value):
        schema = {**self.schema, "properties": {name: sub for name, sub in (self.schema.get("properties") or {}).items()
                                                if name not in ("apiVersion", "kind", "metadata")}}
        yield from value_problems(value, schema, "")
